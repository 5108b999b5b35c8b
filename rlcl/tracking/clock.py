"""The time that a run takes: on the wall, and of the processor."""

from __future__ import annotations

import time
from collections.abc import Mapping

import attrs
from attrs import define, field, frozen

__all__ = ["Clock", "Time"]


@frozen
class Time:
    """A stretch of time.

    Args:
        seconds: on the wall.
        cpu_seconds: of the processor, over all threads of the process (not of those that read data).
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __add__(self, other: Time) -> Time:
        return Time(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)

    def __sub__(self, other: Time) -> Time:
        return Time(self.seconds - other.seconds, self.cpu_seconds - other.cpu_seconds)


def _now() -> Time:
    return Time(time.perf_counter(), time.process_time())


@define(eq=False)
class Clock:
    """Counts the time of a run over all its sessions; what a crash lost and a resumed run repeats counts once."""

    _before: Time = field(init=False, factory=Time)  # of earlier sessions
    _started: Time = field(init=False, factory=_now)
    _lap: Time = field(init=False, factory=Time)  # when the experience in progress began

    @property
    def total(self) -> Time:
        """Of the run up to now."""
        return self._before + (_now() - self._started)

    def lap(self) -> Time:
        """Of the experience that ends now; the next one begins."""
        total = self.total
        lap, self._lap = total - self._lap, total
        return lap

    def state_dict(self) -> dict[str, dict[str, float]]:
        return {"total": attrs.asdict(self.total), "lap": attrs.asdict(self._lap)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        self._before, self._lap, self._started = Time(**state["total"]), Time(**state["lap"]), _now()
