"""Estimate of how long successive losses are correlated, from the losses themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import define, field

from rlcl.deploy.monitoring.statistics import autocovariances, correlation_times_from

__all__ = ["LossCorrelation"]

Array = np.ndarray[Any, Any]

SEGMENT = 400  # losses in a segment, whose mean is assumed to be constant
INDEPENDENT = 1.5  # maximum correlation time at which losses count as independent
ENOUGH_SEGMENTS = 5  # complete segments; with fewer, the unfinished segment contributes as well
TOLERANCE = 4 / 3  # a change of the length by a smaller factor is ignored


@define(eq=False)
class LossCorrelation:
    """An estimate of the number of successive losses that carry as much information as one independent loss.

    Autocovariances are summed over complete segments, each centered at its own mean. A level that changes once
    therefore does not look like correlation. While there are few complete segments, the blocks of the unfinished
    segment contribute as well, each centered at its own mean. Blocks are shorter than segments: correlation looks
    shorter in them, and a change of the level looks less like correlation.
    """

    length: int = field(init=False, default=1)
    _segment: list[float] = field(init=False, factory=list)
    _unfinished: Array = field(init=False, factory=lambda: np.zeros((SEGMENT, 1)))  # sum over the unfinished segment
    _segments: int = field(init=False, default=0)
    _covariances: Array = field(init=False, factory=lambda: np.zeros((SEGMENT, 1)))  # sum over complete segments

    def update(self, losses: Sequence[float]) -> bool:
        """Add a block of losses, and return whether the length has changed.

        Args:
            losses: block of losses; its size divides SEGMENT.
        """
        self._segment += losses
        self._unfinished = self._unfinished + _padded_autocovariances(losses)
        if len(self._segment) >= SEGMENT:
            self._covariances = self._covariances + _padded_autocovariances(self._segment)
            self._segments = self._segments + 1
            self.leave_out()
        covariances = self._covariances + (self._unfinished if self._segments < ENOUGH_SEGMENTS else 0)
        time = float(correlation_times_from(covariances, SEGMENT)[0])
        length = 1 if time <= INDEPENDENT else math.ceil(time)
        if 1 / TOLERANCE < length / self.length < TOLERANCE:
            return False
        self.length = length
        return True

    def leave_out(self) -> None:
        """Discard the unfinished segment, for example because it contains a change of the level."""
        self._segment, self._unfinished = [], np.zeros((SEGMENT, 1))

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data."""
        scalars = {"length": self.length, "whole": self._segments, "segment": list(self._segment)}
        arrays = {"parts": self._unfinished, "covariances": self._covariances}
        return {**scalars, **{name: array[:, 0].tolist() for name, array in arrays.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state.

        Args:
            state: result of :meth:`state_dict`, possibly after a round trip through JSON; empty for
                independent losses.
        """
        self.length = max(int(state.get("length", 1)), 1)
        self._segments = int(state.get("whole", 0))
        self._segment = [float(loss) for loss in state.get("segment", ())]
        zeros = [0.0] * SEGMENT
        unfinished, complete = (np.asarray(state.get(name, zeros), np.float64) for name in ("parts", "covariances"))
        self._unfinished, self._covariances = unfinished.reshape(SEGMENT, 1), complete.reshape(SEGMENT, 1)


def _padded_autocovariances(losses: Sequence[float]) -> Array:
    """Compute (SEGMENT, 1) autocovariances of at most SEGMENT losses, padded with zeros."""
    covariances = autocovariances(np.asarray(losses, np.float64)[:, None])
    return np.pad(covariances, ((0, SEGMENT - len(covariances)), (0, 0)))
