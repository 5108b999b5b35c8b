"""How a run is asked to stop: a signal is noted, and obeyed at the next step that can be gone on from."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from attrs import define

from rlcl.errors import RlclError

__all__ = ["Interrupted", "Stop", "catching_signals"]


class Interrupted(RlclError):
    """SIGINT or SIGTERM, after a checkpoint where the learner can be saved."""

    def __init__(self, signum: int, where: Path, within: bool) -> None:
        name = signal.Signals(signum).name
        place = "from there" if within else "from the last experience's end"
        super().__init__(f"stopped by {name}; its checkpoints are in {where}, and the same command goes on {place}")
        self.exit_status = 128 + signum


@define
class Stop:
    """Which signal asked to stop, if any."""

    signum: int | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:  # asked twice: at once
            raise SystemExit(128 + signum)
        self.signum = signum


@contextmanager
def catching_signals() -> Iterator[Stop]:
    """SIGINT and SIGTERM are noted instead of acted upon; only the main thread can."""
    stop, before = Stop(), {}
    for signum in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError):
            before[signum] = signal.signal(signum, stop)
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
