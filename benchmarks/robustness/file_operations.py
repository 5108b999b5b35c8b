"""Count the file operations of studies that share a folder, with strace.

On a shared file system, each of these operations may be a request to its server. The output contains, for the parts of
a call of ``rlcl bench``, the operations for a cell: the slope between suites of two sizes.

    python benchmarks/robustness/file_operations.py

It needs strace (Debian: apt-get install strace).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
SIZES = (200, 1_000)
SUITE = """
name: many
base: {extends: quickstart, objective: null, sinks: []}
seeds: COUNT
"""
PREPARED = """
import sys
from pathlib import Path
from rlcl.study.claims import Session
from rlcl.study.grid import Grid
from rlcl.study.job_queue import CellQueue
from rlcl.study.suite import load_suite
from rlcl.tracking.runs import find_runs
root = Path(sys.argv[2])
suite = load_suite(sys.argv[1])
(root / "claims").mkdir(parents=True, exist_ok=True)
grid = Grid(suite, root)
grid.folder.mkdir(parents=True)
session = Session(root / "claims")
other = Session(root / "others")
names = [cell.file_name for cell in suite.cells]
PREPARE
print("begin", file=open(sys.argv[3], "w"))
WORK
print("end", file=open(sys.argv[3], "w"))
import os
os._exit(0)
"""
PARTS = {
    "state of a cell that was not started": ("", "Grid(suite, root)"),
    "state of a cell that has finished": ("FINISHED", "Grid(suite, root)"),
    "claim and release of a cell": ("", "for name in names: session.claim(name); session.release(name)"),
    "claim of a cell that another machine runs": (
        "session.folder = other.folder\nfor name in names: other.claim(name)",
        "for name in names: session.claim(name)",
    ),
    "runs list, a finished run": (
        "FINISHED",
        "for run in find_runs(root): run.state, run.values('step'), run.values('updated'), run.metrics",
    ),
}
FINISHED = """
import shutil
for cell in suite.cells:
    target = grid.folder / cell.run
    shutil.copytree(sys.argv[4], target)
"""


def operations(part: str, count: int, run: Path) -> int:
    """Count the file operations of a part with a suite of so many cells."""
    prepare, work = PARTS[part]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "many.yaml").write_text(SUITE.replace("COUNT", str(count)))
        script = PREPARED.replace("PREPARE", prepare.replace("FINISHED", FINISHED)).replace("WORK", work)
        (folder / "script.py").write_text(script)
        traced = ["strace", "-f", "-e", "trace=%file,%desc", "-e", "signal=none", "-o", str(folder / "trace")]
        command = [sys.executable, str(folder / "script.py"), str(folder / "many.yaml"), str(folder / "runs")]
        subprocess.run([*traced, *command, str(folder / "marker"), str(run)], check=True, cwd=folder)
        lines = (folder / "trace").read_text().splitlines()
    ends = [index for index, line in enumerate(lines) if "/marker" in line and "openat" in line]
    # What is done with files in the folder of the study; reading and closing them is part of their opening.
    calls = re.compile(r"^\d+ +(\w+)\(")
    shared = [line for line in lines[ends[0] + 1 : ends[1]] if f"{folder}/runs" in line]
    return len([line for line in shared if calls.match(line)])


def main() -> None:
    """Count, print and write the operations for a cell."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "one.yaml").write_text(
            "extends: quickstart\nobjective: null\nseeds: [0]\nsinks: []\nbudget: {updates: 2}\n"
        )
        subprocess.run([sys.executable, "-m", "rlcl", "run", "one.yaml", "--quiet"], check=True, cwd=folder)
        (run,) = folder.glob("runs/*/*/seed0")
        for part in PARTS:
            few, many = (operations(part, count, run) for count in SIZES)
            found[part] = round((many - few) / (SIZES[1] - SIZES[0]), 2)
            print(f"{found[part]:6.2f}  {part}", flush=True)
    content = {"command": "python benchmarks/robustness/file_operations.py", "operations_for_a_cell": found}
    (RESULTS / "file_operations.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
