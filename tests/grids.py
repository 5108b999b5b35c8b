"""Small suites for tests, and a learner that crashes, hangs or dies where it is told to."""

from __future__ import annotations

import time
from pathlib import Path

from rlcl.study.grid import CellState, Grid
from rlcl.study.suite import Suite, load_suite

# A learner that does what a file beside it says: what goes wrong the first time can be mended for the second.
LEARNER = """
import json
import os
import signal
import sys
import time
from pathlib import Path

import attrs
import torch

from rlcl.types import Event, Learner, Position

HERE = Path(__file__).parent


class Odd(Learner):
    measures = ("accuracy",)
    resumable_within = False

    def __init__(self, does: str = "learn") -> None:
        self.does, self.position = does, Position()

    def prepare(self, setup) -> None:
        if self.does == "refuse":
            raise ValueError("it refuses")

    def learn(self, experience):
        self.position.begin(experience)
        tame = (HERE / "tame").exists()
        heavy = [name for name in ("avalanche", "stable_baselines3", "torchvision") if name in sys.modules]
        seen = {"heavy": heavy, "threads": torch.get_num_threads(), "omp": os.environ.get("OMP_NUM_THREADS")}
        (HERE / f"seen-{self.does}.json").write_text(json.dumps(seen))
        if self.does == "raise" and not tame:
            print("about to raise")
            raise RuntimeError("it broke")
        if self.does == "die" and not tame:
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.does == "linger" and not tame:
            for _ in range(6000):
                time.sleep(0.01)
                yield None
        if self.does == "hang" and not tame:
            time.sleep(60)
        self.position.advance()
        self.position.end(experience)
        yield Event(self.position.step, {"loss": 0.5})

    def predict(self, x, task_id=None, state=None):
        return torch.zeros(len(x), dtype=torch.long), None

    def state_dict(self):
        return {"position": attrs.asdict(self.position)}

    def load_state_dict(self, state):
        self.position = Position(**state["position"])
"""

ODD = """
name: odd
base:
  stream: {type: class_incremental, data: {type: digits}, experiences: 2}
  learner: {type: "odd.py:Odd"}
  budget: {epochs: 1}
sweep:
  learner.does: DOES
"""

SLOW = """
name: slow
base:
  stream: {type: class_incremental, data: {type: digits}, experiences: 2}
  learner:
    type: classifier
    network: {type: mlp, hidden: [32], dropout: 0.3}
    batch_size: 8
    methods: [{type: rehearsal, capacity: 100, batch_size: 8}]
  budget: {epochs: 6}
  event_interval: 10
seeds: 2
"""


class Silent:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []

    def show(self, grid: Grid, changed: CellState | None = None) -> None:
        if changed is not None:
            self.shown.append((changed.cell.learner, changed.state))


def odd(folder: Path, *does: str) -> Suite:
    (folder / "odd.py").write_text(LEARNER)
    (folder / "odd.yaml").write_text(ODD.replace("DOES", f"[{', '.join(does)}]"))
    return load_suite(folder / "odd.yaml")


def wait_for(path: Path, seconds: float = 60) -> None:
    """Until a file is there and not empty."""
    until = time.monotonic() + seconds
    while not path.is_file() or not path.stat().st_size:
        assert time.monotonic() < until, f"no {path}"
        time.sleep(0.01)


def wait_until_gone(pid: int, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < until, f"{pid} lives"
        time.sleep(0.01)
