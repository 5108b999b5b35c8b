"""Handling of SIGINT and SIGTERM: a run stops at the next step from which it can be resumed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Literal

from attrs import define

from rlcl.errors import RlclError

__all__ = ["Interrupted", "StopSignal", "catch_signals"]


ResumePosition = Literal["this step", "the last checkpoint", "the end of the last experience"]


class Interrupted(RlclError):
    """A run that was stopped by SIGINT or SIGTERM, with a checkpoint if the learner can be saved.

    Args:
        signum: number of the signal.
        folder: the run folder.
        position: step from which the run is resumed.
    """

    def __init__(self, signum: int, folder: Path, position: ResumePosition) -> None:
        name = signal.Signals(signum).name
        super().__init__(
            f"stopped by {name}; its checkpoints are in {folder}; run the same command to resume from {position}"
        )
        self.exit_status = 128 + signum


@define
class StopSignal:
    """Signal handler that stores the number of the first signal, and exits at the second Ctrl-C.

    A second SIGTERM has no effect: Slurm, for example, sends it to all processes, and again through ``srun``.

    Args:
        signum: number of the signal; None before it arrives.
    """

    signum: int | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum = signum
        elif signum == signal.SIGINT:
            raise SystemExit(128 + signum)


@contextmanager
def catch_signals() -> Iterator[StopSignal]:
    """Store SIGINT and SIGTERM instead of acting on them; outside the main thread this has no effect."""
    stop, previous = StopSignal(), {}
    for signum in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError):  # not in the main thread
            previous[signum] = signal.signal(signum, stop)
    try:
        yield stop
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
