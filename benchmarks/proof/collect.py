"""Write the metrics of the proof experiments that have been run to ``benchmarks/results/proof.json``.

for name in mlp cnn vae barlow-twins; do rlcl run benchmarks/proof/mnist-$name.yaml; done
python benchmarks/proof/collect.py [runs]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from rlcl.experiment import load_experiment
from rlcl.launch.seed_run import run_folder
from rlcl.statistics.intervals import summarize
from rlcl.tracking.json_files import read_json

HERE = Path(__file__).parent


def main() -> None:
    """Read the runs of every experiment in the folder of this file."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs")
    rows = {}
    for path in sorted(HERE.glob("*.yaml")):
        experiment = load_experiment(path)
        summaries = [read_json(run_folder(root, experiment, seed) / "summary.json") for seed in experiment.seeds]
        if not all(summaries):
            print(f"{path.stem}: not all of its seeds have been run")
            continue
        names = [name for name in summaries[0]["metrics"] if name.endswith(".average")]
        rows[path.stem] = {name: [s["metrics"][name] for s in summaries] for name in names}
        for name, values in rows[path.stem].items():
            found = summarize(values)
            print(f"{path.stem:20} {name:28} {np.mean(values):9.4f}  ({found.low:.4f} to {found.high:.4f})")
    content = {"command": "rlcl run benchmarks/proof/NAME.yaml", "rows": rows}
    (HERE.parent / "results" / "proof.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
