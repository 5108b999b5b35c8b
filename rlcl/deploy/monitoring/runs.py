"""How long losses resemble each other, learned from the losses themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import define, field

from rlcl.deploy.monitoring.statistics import covariances, time_of

__all__ = ["Runs"]

Array = np.ndarray[Any, Any]

SEGMENT = 400  # losses whose mean is taken for constant
SHORT = 1.5  # a correlation time up to which losses count as independent
SURE = 5  # whole segments, before which the one that goes on counts as well
NEAR = 4 / 3  # times as long, or as short, is no other length


@define(eq=False)
class Runs:
    """How many successive losses tell as much as one that is independent.

    Autocovariances are those of whole segments, each around its own mean, summed up: so a level that changes once does
    not look like a long run. While there are few, those of the parts of the segment that goes on count as well, each
    around its own mean, too: they are shorter, so a run looks shorter in them, and a change less like one.
    """

    length: int = field(init=False, default=1)
    _segment: list[float] = field(init=False, factory=list)
    _parts: Array = field(init=False, factory=lambda: np.zeros((SEGMENT, 1)))  # of the segment that goes on
    _whole: int = field(init=False, default=0)
    _covariances: Array = field(init=False, factory=lambda: np.zeros((SEGMENT, 1)))  # of all whole segments

    def take(self, losses: Sequence[float]) -> bool:
        """Takes some losses in, SEGMENT being a multiple of how many, and says whether the length is another now."""
        self._segment += losses
        self._parts = self._parts + _of(losses)
        if len(self._segment) >= SEGMENT:
            self._covariances, self._whole = self._covariances + _of(self._segment), self._whole + 1
            self.leave_out()
        found = self._covariances + (self._parts if self._whole < SURE else 0)
        time = float(time_of(found, SEGMENT)[0])
        length = 1 if time <= SHORT else math.ceil(time)
        if 1 / NEAR < length / self.length < NEAR:
            return False
        self.length = length
        return True

    def leave_out(self) -> None:
        """The segment that goes on holds a change of the level."""
        self._segment, self._parts = [], np.zeros((SEGMENT, 1))

    def state_dict(self) -> dict[str, Any]:
        """As plain data."""
        told = {"length": self.length, "whole": self._whole, "segment": list(self._segment)}
        kept = {"parts": self._parts, "covariances": self._covariances}
        return {**told, **{name: array[:, 0].tolist() for name, array in kept.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Args:
            state: what :meth:`state_dict` gave, also by way of JSON; nothing where losses were taken for independent.
        """
        self.length = max(int(state.get("length", 1)), 1)
        self._whole = int(state.get("whole", 0))
        self._segment = [float(loss) for loss in state.get("segment", ())]
        zeros = [0.0] * SEGMENT
        parts, whole = (np.asarray(state.get(name, zeros), np.float64) for name in ("parts", "covariances"))
        self._parts, self._covariances = parts.reshape(SEGMENT, 1), whole.reshape(SEGMENT, 1)


def _of(losses: Sequence[float]) -> Array:
    """(SEGMENT, 1) of at most so many losses."""
    found = covariances(np.asarray(losses, np.float64)[:, None])
    return np.pad(found, ((0, SEGMENT - len(found)), (0, 0)))
