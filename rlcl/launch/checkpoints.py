"""Checkpoints of one run: the newest is resumed from, new ones are saved while it trains."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from attrs import define, field
from rich.console import Console

from rlcl.errors import CheckpointError
from rlcl.tracking.clock import Clock
from rlcl.tracking.folder import RunFolder
from rlcl.tracking.stamp import Stamp
from rlcl.training import checkpoint
from rlcl.training.trainer import Trainer

__all__ = ["Checkpoints"]


@define(eq=False)
class Checkpoints:
    """Saves and restores all that the rest of a run depends on: trainer, time spent, and the lengths of its files.

    Args:
        trainer: of the run.
        folder: of the run.
        interval: seconds between two checkpoints within an experience.
    """

    trainer: Trainer
    folder: RunFolder
    interval: float
    clock: Clock = field(init=False, factory=Clock)
    _numbers: Iterator[int] = field(init=False)
    _saved: float = field(init=False, factory=time.monotonic)

    def resume(self, console: Console) -> bool:
        """Load the newest whole checkpoint, if any, and cut the files to what it vouches for.

        Returns:
            Whether there is one.
        """
        folder = self.folder
        self._numbers = count(_newest(folder) + 1)
        found = checkpoint.load_newest(
            folder.checkpoints, lambda text: console.print(f"[yellow]{text}[/]", soft_wrap=True)
        )
        lengths, stamp = ({}, None) if found is None else self._loaded(*found)
        folder.open(lengths, stamp)
        if step := self.trainer.learner.position.step:
            console.print(f"going on with {folder.path} at step {step:,}", highlight=False, soft_wrap=True)
        self._saved = time.monotonic()
        return found is not None

    def _loaded(self, number: int, state: Any) -> tuple[Mapping[str, int], Stamp | None]:
        """Load a state; what it vouches for in the run's files.

        Raises:
            CheckpointError: it is not the state of such a run.
        """
        try:
            self.trainer.load_state_dict(state["trainer"])
            self.clock.load_state_dict(state["clock"])
            stamp = Stamp(**state["records"]) if "records" in state else None
            return {name: int(length) for name, length in state["lengths"].items()}, stamp
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            said = (str(error).splitlines() or ["no message"])[0]
            raise CheckpointError(
                f"checkpoint {self.folder.checkpoints / f'{number:08d}'} does not hold the state of this run "
                f"({type(error).__name__}: {said}); remove the run with rlcl runs rm to start it anew"
            ) from error

    @property
    def overdue(self) -> bool:
        """Whether the last one was saved too long ago."""
        return time.monotonic() - self._saved > self.interval

    def save(self) -> None:
        """Save one, unless the learner cannot be resumed within an experience and is within one."""
        learner, folder = self.trainer.learner, self.folder
        position = learner.position
        if position.learning and not learner.resumable_within:
            return
        state = {
            "trainer": self.trainer.state_dict(),
            "lengths": folder.lengths(),
            "records": folder.stamp().as_json,
            "clock": self.clock.state_dict(),
        }
        checkpoint.save(folder.checkpoints, next(self._numbers), state)
        folder.write_status("running", step=position.step, experience=position.experience, of=len(self.trainer.stream))
        self._saved = time.monotonic()


def _newest(folder: RunFolder) -> int:
    """The number of the newest checkpoint, whole or not; -1 without one."""
    if not folder.checkpoints.is_dir():
        return -1
    return max((int(path.name) for path in folder.checkpoints.glob("*") if path.name.isdigit()), default=-1)
