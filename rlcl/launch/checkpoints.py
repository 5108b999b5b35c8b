"""Checkpoints of one run: resume from the newest one, and save new ones during training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from attrs import define, field
from rich.console import Console

from rlcl.errors import CheckpointError
from rlcl.launch.checkpoint_schedule import CheckpointPosition, CheckpointTimer, checkpoint_position
from rlcl.tracking.checksum import Checksum
from rlcl.tracking.clock import Clock
from rlcl.tracking.folder import RunFolder
from rlcl.training import checkpoint
from rlcl.training.trainer import Trainer

__all__ = ["Checkpoints"]


@define(eq=False)
class Checkpoints:
    """Checkpoints with the whole state of a run: trainer, clock, and lengths of its files.

    Args:
        trainer: the trainer of the run.
        folder: the folder of the run.
        timer: timer of the checkpoints within an experience; shared by runs with batched seeds.
        resume_position: position of the checkpoint to resume from, if there is one; None for the newest one.
    """

    trainer: Trainer
    folder: RunFolder
    timer: CheckpointTimer
    resume_position: CheckpointPosition | None = None
    clock: Clock = field(init=False, factory=Clock)
    _numbers: Iterator[int] = field(init=False)
    _step: int = field(init=False, default=-1)  # step of the last checkpoint

    def resume(self, console: Console) -> bool:
        """Load the newest intact checkpoint, or the one of the resume position, and truncate the files to its lengths.

        Returns:
            Whether there is a checkpoint.
        """
        folder = self.folder
        numbered_state = self._find_checkpoint(console)
        self._numbers = count(_newest(folder) + 1)
        lengths, records_checksum = ({}, None) if numbered_state is None else self._load(*numbered_state)
        folder.open(lengths, records_checksum)
        if step := self.trainer.learner.position.step:
            console.print(f"resuming {folder.path} at step {step:,}", soft_wrap=True)
        self._step = self.trainer.learner.position.step
        self.timer.saved()
        return numbered_state is not None

    def _find_checkpoint(self, console: Console) -> tuple[int, Any] | None:
        """Return number and state of the checkpoint to resume from, and remove the later ones."""
        folder = self.folder.checkpoints
        if self.resume_position is not None:
            for number, state in checkpoint.intact_checkpoints(folder):
                if checkpoint_position(state) == self.resume_position:
                    checkpoint.remove_newer(folder, number)
                    return number, state
        return checkpoint.load_newest(folder, lambda text: console.print(text, style="yellow", soft_wrap=True))

    def _load(self, number: int, state: Any) -> tuple[Mapping[str, int], Checksum | None]:
        """Load a state; return the lengths of the run's files and the checksum of its records.

        Raises:
            CheckpointError: the state does not belong to such a run.
        """
        try:
            self.trainer.load_state_dict(state["trainer"])
            self.clock.load_state_dict(state["clock"])
            records_checksum = Checksum(**state["records"]) if "records" in state else None
            return {name: int(length) for name, length in state["lengths"].items()}, records_checksum
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            message = (str(error).splitlines() or ["no message"])[0]
            raise CheckpointError(
                f"checkpoint {self.folder.checkpoints / f'{number:08d}'} does not hold the state of this run "
                f"({type(error).__name__}: {message}); remove the run with rlcl runs rm to start it again"
            ) from error

    @property
    def overdue(self) -> bool:
        """Whether the last checkpoint is older than the interval."""
        step = self.trainer.learner.position.step
        return step > self._step and self.timer(step)

    def save(self) -> None:
        """Save a checkpoint, unless the learner is within an experience and cannot be resumed there."""
        learner, folder = self.trainer.learner, self.folder
        position = learner.position
        if position.learning and not learner.resumable_within:
            return
        state = {
            "trainer": self.trainer.state_dict(),
            "lengths": folder.lengths(),
            "records": folder.checksum().as_json,
            "clock": self.clock.state_dict(),
        }
        checkpoint.save(folder.checkpoints, next(self._numbers), state)
        self._step = position.step
        folder.write_status("running", step=position.step, experience=position.experience, of=len(self.trainer.stream))
        self.timer.saved()


def _newest(folder: RunFolder) -> int:
    """Return the number of the newest checkpoint, intact or not; -1 if there is none."""
    if not folder.checkpoints.is_dir():
        return -1
    return max((int(path.name) for path in folder.checkpoints.glob("*") if path.name.isdigit()), default=-1)
