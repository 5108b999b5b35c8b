"""A suite of long cells for tests with clusters, and what an undisturbed run of it writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from attrs import define, field
from grids import SLOW
from rich.console import Console

from rlcl.launch.seeds import run_seed
from rlcl.study.suite import Suite, load_suite
from rlcl.tracking.json_files import read_json

__all__ = ["Bench", "let_go", "long_suite", "run_folders", "same_bits", "sessions"]


# A learner that a test holds back until what it waits for has happened, however fast the machine is.
PACED = """
import time
from pathlib import Path

from rlcl.learners.supervised.classifier import Classifier

HELD = Path(__file__).parent / "held"


class Paced(Classifier):
    def learn(self, experience):
        for event in super().learn(experience):
            if HELD.exists():
                time.sleep(0.1)
            yield event
"""


def long_suite(folder: Path, seeds: int = 1) -> Suite:
    """Write ``slow.yaml`` with cells that checkpoint often and take minutes, and seconds after :func:`let_go`."""
    text = SLOW.replace("type: classifier", 'type: "paced.py:Paced"').replace("seeds: 2", f"seeds: {seeds}")
    (folder / "slow.yaml").write_text(text.replace("event_interval", "checkpoint_minutes: 0.02\n  event_interval"))
    (folder / "paced.py").write_text(PACED)
    (folder / "held").touch()
    return load_suite(folder / "slow.yaml")


def let_go(folder: Path) -> None:
    """Let the cells of :func:`long_suite` end within seconds."""
    (folder / "held").unlink()


@define
class Bench:
    """Processes of ``rlcl bench`` on the suite, which end with the test.

    Args:
        folder: of ``slow.yaml``; the runs are in its subfolder ``runs``.
    """

    folder: Path
    _processes: list[subprocess.Popen[str]] = field(init=False, factory=list)

    def __call__(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "rlcl", "bench", "slow.yaml", "--root", "runs", *arguments]
        process = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def run_folders(folder: Path, suite: Suite) -> list[Path]:
    return [folder / "runs" / suite.name / cell.run for cell in suite.cells]


def sessions(run: Path) -> int:
    """How many times a run was started or resumed."""
    return len(read_json(run / "manifest.json")["sessions"])


def same_bits(folder: Path, suite: Suite) -> bool:
    """Whether each cell has the records and weights of a run that nothing disturbed."""
    for cell, run in zip(suite.cells, run_folders(folder, suite), strict=True):
        alone = run_seed(cell.experiment, cell.seed, folder / "alone", Console(quiet=True)).path
        if (alone / "records.jsonl").read_bytes() != (run / "records.jsonl").read_bytes():
            return False
        weights = [max((path / "checkpoints").iterdir()) / "tensors.safetensors" for path in (alone, run)]
        if weights[0].read_bytes() != weights[1].read_bytes():
            return False
    return True
