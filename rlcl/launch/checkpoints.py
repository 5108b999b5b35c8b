"""Checkpoints of one run: the newest is resumed from, new ones are saved while it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from attrs import define, field
from rich.console import Console

from rlcl.errors import CheckpointError
from rlcl.launch.moments import Due, Moment, moment_of
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
        due: when they are saved within an experience; shared by runs that advance together.
        wanted: the moment to resume from, where there is a checkpoint of it.
    """

    trainer: Trainer
    folder: RunFolder
    due: Due
    wanted: Moment | None = None
    clock: Clock = field(init=False, factory=Clock)
    _numbers: Iterator[int] = field(init=False)
    _step: int = field(init=False, default=-1)  # of the last one

    def resume(self, console: Console) -> bool:
        """Load the newest whole checkpoint, or that of the moment wanted, and cut the files to what it vouches for.

        Returns:
            Whether there is one.
        """
        folder = self.folder
        found = self._found(console)
        self._numbers = count(_newest(folder) + 1)
        lengths, stamp = ({}, None) if found is None else self._loaded(*found)
        folder.open(lengths, stamp)
        if step := self.trainer.learner.position.step:
            console.print(f"going on with {folder.path} at step {step:,}", highlight=False, soft_wrap=True)
        self._step = self.trainer.learner.position.step
        self.due.saved()
        return found is not None

    def _found(self, console: Console) -> tuple[int, Any] | None:
        """The checkpoint to resume from, with its number; those after it are removed."""
        folder = self.folder.checkpoints
        if self.wanted is not None:
            for number, state in checkpoint.whole(folder):
                if moment_of(state) == self.wanted:
                    checkpoint.remove_after(folder, number)
                    return number, state
        return checkpoint.load_newest(folder, lambda text: console.print(f"[yellow]{text}[/]", soft_wrap=True))

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
        step = self.trainer.learner.position.step
        return step > self._step and self.due(step)

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
        self._step = position.step
        folder.write_status("running", step=position.step, experience=position.experience, of=len(self.trainer.stream))
        self.due.saved()


def _newest(folder: RunFolder) -> int:
    """The number of the newest checkpoint, whole or not; -1 without one."""
    if not folder.checkpoints.is_dir():
        return -1
    return max((int(path.name) for path in folder.checkpoints.glob("*") if path.name.isdigit()), default=-1)
