"""Measurement of a run's wall time, processor time and peak memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import define, field, frozen

__all__ = ["Clock", "ElapsedTime", "peak_bytes"]


@frozen
class ElapsedTime:
    """A duration.

    Args:
        seconds: wall time.
        cpu_seconds: processor time over all threads of the process, without worker processes that load data.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __add__(self, other: ElapsedTime) -> ElapsedTime:
        return ElapsedTime(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)

    def __sub__(self, other: ElapsedTime) -> ElapsedTime:
        return ElapsedTime(self.seconds - other.seconds, self.cpu_seconds - other.cpu_seconds)


def peak_bytes() -> int:
    """Return the peak memory of this process, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _now() -> ElapsedTime:
    return ElapsedTime(time.perf_counter(), time.process_time())


@define(eq=False)
class Clock:
    """Measures time and memory of a run over all its sessions.

    Time since the last checkpoint before a crash is not counted; the resumed run repeats and counts it.
    """

    _before: ElapsedTime = field(init=False, factory=ElapsedTime)  # of earlier sessions
    _started: ElapsedTime = field(init=False, factory=_now)
    _lap: ElapsedTime = field(init=False, factory=ElapsedTime)  # total at the start of the current experience
    _peak: int = field(init=False, default=0)  # bytes, of earlier sessions

    @property
    def total(self) -> ElapsedTime:
        """Time of the run until now."""
        return self._before + (_now() - self._started)

    @property
    def peak(self) -> int:
        """Maximum peak memory of the run's processes, in bytes; it includes other runs of the same process."""
        return max(self._peak, peak_bytes())

    def lap(self) -> ElapsedTime:
        """Return the time of the current experience, and start that of the next one."""
        total = self.total
        duration, self._lap = total - self._lap, total
        return duration

    def state_dict(self) -> dict[str, Any]:
        return {"total": attrs.asdict(self.total), "lap": attrs.asdict(self._lap), "peak": self.peak}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._before, self._lap, self._started = ElapsedTime(**state["total"]), ElapsedTime(**state["lap"]), _now()
        self._peak = state.get("peak", 0)  # missing in older checkpoints
