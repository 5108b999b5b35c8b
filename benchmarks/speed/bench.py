"""Measure the cost of a grid: two processes compared with one, and the start of a cell compared with importing torch.

    python benchmarks/speed/bench.py [repetitions]

The time of a grid is that of a whole call of ``run_suite``: the start of the server, the check of its config, and 8
cells. A cell takes about 5 seconds, or four times as long; the grid starts once in both cases. The start of a cell
is measured from the launcher's order to the event of the first update. It includes the process, config, data, network,
TensorBoard, the evaluation before training and a checkpoint.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from interleaved import measure, ratio, report

from rlcl.config import unstructure
from rlcl.launch.launchers.processes import Processes
from rlcl.study.grid import CellState, Grid
from rlcl.study.suite import Suite, SuiteCell, load_suite
from rlcl.study.suite_runner import run_suite
from rlcl.types import Ended, Job

SUITE = """
name: equal
base: {extends: quickstart, budget: {epochs: 40}, event_interval: 1000}
seeds: 8
"""


class Silent:
    def show(self, grid: Grid, changed: CellState | None = None) -> None: ...


def load(*changes: str) -> Suite:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "equal.yaml").write_text(SUITE)
        return load_suite(Path(folder) / "equal.yaml", changes)


def grid(suite: Suite, slots: int) -> Callable[[], None]:
    def run() -> None:
        launcher = Processes(processes=slots)
        with tempfile.TemporaryDirectory() as root:
            done = run_suite(suite, launcher, Silent(), Path(root))
            launcher.close()
            assert done.counts() == {"finished": len(suite.cells)}, done.counts()

    return run


def to_first_update(launcher: Processes, cell: SuiteCell) -> float:
    """Return the seconds from the order to the event of the first update."""
    with tempfile.TemporaryDirectory() as root:
        log = Path(root) / "log.txt"
        job = Job(name=cell.run, config=unstructure(cell.experiment), seed=cell.seed, root=Path(root), log=log)
        started = time.time()
        launcher.start(job)
        while not (ended := [report for report in launcher.reports(120) if isinstance(report, Ended)]):
            pass
        assert [each.status for each in ended] == [0], log.read_text()
        (events,) = Path(root).glob("*/*/*/events.jsonl")
        return float(json.loads(events.read_text().splitlines()[0])["time"]) - started


def seconds_of(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - started


def starts(cell: SuiteCell, repetitions: int) -> dict[str, list[float]]:
    """Measure the seconds of the start of a grid's first cell, the start of a later cell, the import and help."""
    seconds: dict[str, list[float]] = {"first": [], "later": [], "import": [], "help": []}
    for repetition in range(repetitions + 1):
        launcher = Processes(processes=1)
        found = {"first": to_first_update(launcher, cell), "later": to_first_update(launcher, cell)}
        launcher.close()
        found["import"] = seconds_of("-c", "import torch")
        found["help"] = seconds_of("-m", "rlcl", "--help")
        for name, value in found.items() if repetition else ():
            seconds[name].append(value)
    return seconds


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    suite = load()
    grids = measure({"two": grid(suite, 2), "one": grid(suite, 1)}, n)
    longer = load("base.budget={epochs: 160}")
    long = measure({"two": grid(longer, 2), "one": grid(longer, 1)}, 1, warm_up=False)
    begun = starts(load("base.budget={updates: 1}", "base.event_interval=1").cells[0], 3 * n)
    rows = {
        "8 equal cells, 2 processes beside 1": ratio(grids, "two", "one"),
        "8 cells four times as long, 2 processes beside 1": ratio(long, "two", "one"),
        "a cell's start beside import torch": ratio(begun, "later", "import"),
        "a grid's start beside import torch": ratio(begun, "first", "import"),
        "rlcl --help beside import torch": ratio(begun, "help", "import"),
    }
    targets = dict(zip(rows, (1.8, None, 1 / 1.5, None, None), strict=True))
    report("speed_bench", rows, targets, f"python benchmarks/speed/bench.py {n}")


if __name__ == "__main__":
    main()
