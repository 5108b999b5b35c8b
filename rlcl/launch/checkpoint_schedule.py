"""Common checkpoint times and resume positions of runs with batched seeds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from attrs import define, field

from rlcl.training import checkpoint

__all__ = ["CheckpointPosition", "CheckpointTimer", "checkpoint_position", "last_common_position"]


class CheckpointPosition(NamedTuple):
    """Position of a run at a checkpoint; the order of positions is the order in time."""

    step: int
    trained: int
    experience: int
    segment: int
    learning: bool


def checkpoint_position(state: Mapping[str, Any]) -> CheckpointPosition:
    """Return the position of a checkpoint's state."""
    trainer = state["trainer"]
    position = trainer["learner"]["position"]
    return CheckpointPosition(
        position["step"], trainer["trained"], position["experience"], position["segment"], position["learning"]
    )


def last_common_position(folders: Sequence[Path]) -> CheckpointPosition | None:
    """Return the last position that has an intact checkpoint in each of several folders; None if there is none.

    Batched updates are bitwise reproducible only if all seeds are at the same step. A killed process may have saved
    some seeds later than others.
    """
    positions = [
        {checkpoint_position(state) for _, state in checkpoint.intact_checkpoints(folder)} for folder in folders
    ]
    shared = set.intersection(*positions) if positions else set()
    return max(shared, default=None)


@define(eq=False)
class CheckpointTimer:
    """Timer of the checkpoints within an experience, which decides the same for all runs at a step.

    Args:
        interval: seconds between two checkpoints within an experience.
    """

    interval: float
    _saved: float = field(init=False, factory=time.monotonic)
    _step: int = field(init=False, default=-1)  # the last step that was decided
    _overdue: bool = field(init=False, default=False)

    def __call__(self, step: int) -> bool:
        """Return whether a checkpoint is due at a step; the first run that reaches the step decides."""
        if step > self._step:
            self._step, self._overdue = step, time.monotonic() - self._saved > self.interval
            if self._overdue:
                self._saved = time.monotonic()
        return self._overdue and step == self._step

    def saved(self) -> None:
        """Restart the interval, after a checkpoint at a boundary."""
        self._saved = time.monotonic()
