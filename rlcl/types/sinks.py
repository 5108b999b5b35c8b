"""Base class of sinks, which receive the events and records of a run during training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import frozen

from rlcl.types.records import Boundary, Event, Record

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

__all__ = ["RunStart", "Sink"]


@frozen(kw_only=True, eq=False)
class RunStart:
    """Information about the run that a sink is opened for.

    Args:
        folder: folder of the run, where a sink may write files. ``events.jsonl`` and ``records.jsonl`` hold the
            events and records before ``step``, ``config.yaml`` the config.
        name: name of the experiment.
        hash: hash of the config, as in :attr:`rlcl.types.Record.run`; ``name``, ``hash`` and ``seed`` identify a run.
        seed: seed of the run.
        config: resolved experiment as plain data.
        experiences: names of the experiences trained on, in order.
        evaluated: names of the evaluated experiences, in order.
        measures: measures of the learner, the decisive one first.
        steps: number of steps of the whole run; None if it is not known.
        step: step at which the run resumes, 0 if it starts. Items after this step that an earlier process wrote are
            written again, with the same content.
        trainer: the :class:`rlcl.training.trainer.Trainer`; its learner can be read but must not be changed. None
            for the files of a run that has finished before (:attr:`Sink.from_files`).
        console: console for human-readable messages.
        bar: whether the sink may draw a progress bar on the console; a terminal has at most one.
    """

    folder: Path
    name: str
    hash: str
    seed: int
    config: Mapping[str, Any]
    experiences: tuple[str, ...]
    evaluated: tuple[str, ...]
    measures: tuple[str, ...]
    steps: int | None
    step: int
    trainer: Any
    console: Console
    bar: bool

    @property
    def title(self) -> str:
        """Short description of the run: ``digits seed 0``."""
        return f"{self.name} seed {self.seed}"


class Sink(ABC):
    """A receiver of the events and records of one run. Only ``write`` is required; other methods do nothing by default.

    One sink is built for each run. ``open`` is called first, then ``write`` for each item, ``finish`` if the run
    completes, and ``close`` in any case. A sink that raises an error receives nothing more, and the run continues.
    """

    from_files: ClassVar[bool] = False
    """Whether the sink reads only the files and names of a run, and not its trainer: ``rlcl runs send`` opens it."""

    def open(self, run: RunStart) -> None:
        """Open the sink for a run that starts or resumes."""

    @abstractmethod
    def write(self, item: Event | Record | Boundary) -> None:
        """Write an event, a record or a boundary; called in the order of the run."""

    def step(self, step: int, experience: int) -> None:
        """Handle the progress after each update (env step), with or without an event.

        Args:
            step: see :class:`rlcl.types.Event`.
            experience: index of the experience trained on.
        """

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Handle the results of a completed run.

        Args:
            summary: content of the run's ``summary.json``, including ``metrics``. The other files of the run folder,
                including the last checkpoint, are already written.
        """

    def close(self) -> None:
        """Flush pending output, and close files and connections."""

    def seeds_changed(self, folder: Path) -> None:
        """Handle the completion or removal of a run of this config; the sink need not be open.

        Args:
            folder: folder of the config, which contains the runs ``seed0``, ``seed1``, ...
        """

    def look(self, folder: Path) -> str:
        """Return how to view the output: a command, a file or an address; an empty string if there is no output.

        Args:
            folder: folder of a run or of a config; the sink need not be open.
        """
        return ""
