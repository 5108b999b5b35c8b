"""Measure the time to view many runs: ``rlcl runs list`` for 1,000 runs, and a page of 100 runs.

The folders are copies of one real run (the quickstart, evaluated every 10 updates, one event per update). Their numbers
are slightly changed, and their experiments differ in the learning rate. The events of the 100 runs are repeated ten
times. Each figure is the minimum over some processes, measured from the start of Python. It contains the wall time and
the processor time; other work on the machine does not change the latter.

    python benchmarks/speed/report.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from interleaved import RESULTS
from rich.console import Console

from rlcl.experiment import load_experiment
from rlcl.launch.seeds import run_experiment

TIMES = 3
SEEDS = 5
FILES = ("config.yaml", "manifest.json", "status.json", "summary.json", "records.jsonl", "events.jsonl", "costs.jsonl")
TARGETS = {"list": 1.0, "report": 20.0, "megabytes": 2.0}


def copies(real: Path, root: Path, count: int, events: int) -> None:
    """Write run folders that resemble a real one, with five seeds per experiment."""
    texts = {name: (real / name).read_text() for name in FILES}
    rng = np.random.default_rng(0)
    rows = [json.loads(line) for line in texts["events.jsonl"].splitlines()]
    last = rows[-1]["step"]
    for number in range(count):
        folder = root / "copies" / f"{number // SEEDS:012x}" / f"seed{number % SEEDS}"
        folder.mkdir(parents=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
        rate = 1e-3 * (1 + number // SEEDS)
        (folder / "config.yaml").write_text(texts["config.yaml"].replace("lr: 0.001", f"lr: {rate:.4f}"))
        summary = json.loads(texts["summary.json"])
        summary["metrics"] = {k: v + 0.01 * rng.standard_normal() for k, v in summary["metrics"].items()}
        (folder / "summary.json").write_text(json.dumps(summary))
        with (folder / "events.jsonl").open("w") as file:
            for again in range(events):
                for row in rows:
                    noisy = row["loss"] * (1 + 0.1 * rng.standard_normal())
                    file.write(json.dumps({**row, "step": row["step"] + again * last, "loss": noisy}) + "\n")


def least(*arguments: str) -> dict[str, float]:
    """Return the minimum wall time and processor time of some processes, in seconds."""
    found = []
    for _ in range(TIMES):
        before, started = os.times(), time.perf_counter()
        subprocess.run([sys.executable, "-m", "rlcl", *arguments], check=True, capture_output=True)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        found.append((time.perf_counter() - started, used))
    return {"seconds": round(min(s for s, _ in found), 3), "cpu_seconds": round(min(c for _, c in found), 3)}


def main() -> None:
    changes = ["seeds=[0]", "evaluation.every={updates: 10}", "event_interval=1"]
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as place:
        (done,) = run_experiment(load_experiment("quickstart", changes), f"{place}/real", Console(quiet=True))
        many, some, page = Path(place, "many"), Path(place, "some"), Path(place, "report.html")
        copies(done.path, many, 1000, 1)
        copies(done.path, some, 100, 10)
        listed = ("runs", "list", "--root", str(many))
        rows["runs list, 1,000 runs"] = least(*listed)
        rows["runs list --sort METRIC, 1,000 runs"] = least(*listed, "--sort", "forgetting.chaudhry")
        rows["runs list --where SETTING, 1,000 runs of 200 experiments"] = least(
            *listed, "--where", "learner.optimizer.lr<0.05"
        )
        rows["report, 100 runs of 20 experiments"] = least("report", str(some), "-o", str(page))
        rows["report, 100 runs of 20 experiments"]["megabytes"] = round(page.stat().st_size / 1e6, 3)
        single = some / "copies" / f"{0:012x}"
        rows["report, 5 seeds of an experiment"] = least("report", str(single), "-o", str(page))
        rows["report, 5 seeds of an experiment"]["megabytes"] = round(page.stat().st_size / 1e6, 3)
    for name, row in rows.items():
        print(f"{name:60} " + "  ".join(f"{key} {value:.2f}" for key, value in row.items()))
    content = {"command": "python benchmarks/speed/report.py", "targets": TARGETS, "rows": rows}
    (RESULTS / "speed_report.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
