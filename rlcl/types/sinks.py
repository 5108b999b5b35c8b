"""Sinks: what takes the events and records of a run while it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from rlcl.types.records import Boundary, Event, Record

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

__all__ = ["RunStart", "Sink"]


@frozen(kw_only=True, eq=False)
class RunStart:
    """What a sink is told of the run that it is opened for.

    Args:
        folder: the run's own, where a sink may keep files; ``events.jsonl`` and ``records.jsonl`` hold what was
            written before ``step``, ``config.yaml`` the config.
        name: of the experiment.
        hash: of the config, as in :attr:`rlcl.types.Record.run`; ``name``, ``hash`` and ``seed`` name one run.
        seed: of the run.
        config: the resolved experiment as plain data.
        experiences: names of the experiences trained on, in their order.
        evaluated: names of the experiences evaluated, in their order.
        measures: the learner's, the decisive one first.
        steps: of the whole run; None where that is not known.
        step: the step at which it resumes; 0 where it begins. What came after it before is written again, and is equal.
        trainer: the :class:`rlcl.training.trainer.Trainer`; its learner may be looked at, and is left as it was.
        console: messages for people go there.
        bar: whether a sink may draw a bar on the console: a terminal has one at a time.
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
        """The run in a few words: ``digits seed 0``."""
        return f"{self.name} seed {self.seed}"


class Sink(ABC):
    """Takes the events and records of one run. Only ``write`` is required; the other methods do nothing by default.

    One is built for each run. It is opened, takes what the run writes, is finished where the run comes to its end, and
    is closed in any case. An error that it raises ends the run, which can be resumed.
    """

    def open(self, run: RunStart) -> None:
        """Begin, or go on with a run that is resumed."""

    @abstractmethod
    def write(self, item: Event | Record | Boundary) -> None:
        """Take an event, a record or a boundary, in the order of the run."""

    def step(self, step: int, experience: int) -> None:
        """Take the progress after each update (env step), also of those without an event.

        Args:
            step: see :class:`rlcl.types.Event`.
            experience: index of the experience trained on.
        """

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Take the results of a run that has come to its end.

        Args:
            summary: the content of the run's ``summary.json``, ``metrics`` among it; the other files of the run's
                folder, its last checkpoint among them, are written, too.
        """

    def close(self) -> None:
        """Write what is still held back, and let go of files and connections."""

    def seeds_changed(self, folder: Path) -> None:
        """Take notice that a run of this config was finished or removed; the sink need not be open.

        Args:
            folder: of the config, which holds the runs ``seed0``, ``seed1``, ...
        """

    def look(self, folder: Path) -> str:
        """Say how to look at what was written: a command, a file or an address; nothing where there is nothing to see.

        Args:
            folder: of one run or of a config; the sink need not be open.
        """
        return ""
