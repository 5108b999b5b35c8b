"""What a run takes: time, on the wall and of the processor, and memory at its peak."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import define, field, frozen

__all__ = ["Clock", "Time", "peak_bytes"]


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


def peak_bytes() -> int:
    """Memory that this process held at its peak so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _now() -> Time:
    return Time(time.perf_counter(), time.process_time())


@define(eq=False)
class Clock:
    """Counts what a run takes over all its sessions; time that a crash lost and a resumed run repeats counts once."""

    _before: Time = field(init=False, factory=Time)  # of earlier sessions
    _started: Time = field(init=False, factory=_now)
    _lap: Time = field(init=False, factory=Time)  # when the experience in progress began
    _peak: int = field(init=False, default=0)  # bytes, of earlier sessions

    @property
    def total(self) -> Time:
        """Of the run up to now."""
        return self._before + (_now() - self._started)

    @property
    def peak(self) -> int:
        """Bytes at the peak of the process that needed most; other runs of the same process are in it."""
        return max(self._peak, peak_bytes())

    def lap(self) -> Time:
        """Of the experience that ends now; the next one begins."""
        total = self.total
        lap, self._lap = total - self._lap, total
        return lap

    def state_dict(self) -> dict[str, Any]:
        return {"total": attrs.asdict(self.total), "lap": attrs.asdict(self._lap), "peak": self.peak}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._before, self._lap, self._started = Time(**state["total"]), Time(**state["lap"]), _now()
        self._peak = state.get("peak", 0)  # older checkpoints have none
