"""Moments of runs that advance together: when all of them are saved, and from which all can be resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from attrs import define, field

from rlcl.training import checkpoint

__all__ = ["Due", "Moment", "common_moment", "moment_of"]


class Moment(NamedTuple):
    """Where in its stream a run stands in a checkpoint; in the order in which they come."""

    step: int
    trained: int
    experience: int
    segment: int
    learning: bool


def moment_of(state: Mapping[str, Any]) -> Moment:
    """The moment of a checkpoint's state."""
    trainer = state["trainer"]
    position = trainer["learner"]["position"]
    return Moment(
        position["step"], trainer["trained"], position["experience"], position["segment"], position["learning"]
    )


def common_moment(folders: Sequence[Path]) -> Moment | None:
    """The last moment that each of several folders of checkpoints has a whole one of; None where there is none.

    Updates of seeds together are equal in bits only where the same seeds stand at the same step: a process that was
    killed may have saved some of them later than others.
    """
    found = [{moment_of(state) for _, state in checkpoint.whole(folder)} for folder in folders]
    shared = set.intersection(*found) if found else set()
    return max(shared, default=None)


@define(eq=False)
class Due:
    """Whether the last checkpoint was saved too long ago: for several runs the same at each step.

    Args:
        interval: seconds between two checkpoints within an experience.
    """

    interval: float
    _saved: float = field(init=False, factory=time.monotonic)
    _step: int = field(init=False, default=-1)  # the last one at which it was decided
    _overdue: bool = field(init=False, default=False)

    def __call__(self, step: int) -> bool:
        """Whether one is due at a step; decided by the first run that comes to it."""
        if step > self._step:
            self._step, self._overdue = step, time.monotonic() - self._saved > self.interval
            if self._overdue:
                self._saved = time.monotonic()
        return self._overdue and step == self._step

    def saved(self) -> None:
        """A checkpoint was saved for another reason: at a boundary."""
        self._saved = time.monotonic()
