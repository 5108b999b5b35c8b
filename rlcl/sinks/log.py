"""Sink that writes the progress of a run to ``log.txt``, as lines with their time."""

from __future__ import annotations

import datetime
from typing import TextIO

from attrs import define, field

from rlcl.config import option
from rlcl.console import make_console
from rlcl.sinks.progress import LINE_SECONDS, PlainProgress
from rlcl.types import Boundary, Event, Record, RunStart, Sink

__all__ = ["Log"]


@define(kw_only=True, eq=False)
class Log(Sink):
    """Progress in the run's log.txt, a line at each boundary and at intervals in between; every run has this sink.

    Args:
        seconds: seconds between two lines within an experience.
    """

    seconds: float = option(LINE_SECONDS, gt=0)
    _file: TextIO = field(init=False)
    _lines: Sink = field(init=False)

    def open(self, run: RunStart) -> None:
        self._file = (run.folder / "log.txt").open("a")
        console = make_console(file=self._file, width=200)
        self._lines = PlainProgress(console, _now, run.experiences, run.measures, run.steps, self.seconds)

    def write(self, item: Event | Record | Boundary) -> None:
        self._lines.write(item)

    def step(self, step: int, experience: int) -> None:
        self._lines.step(step, experience)

    def close(self) -> None:
        self._file.close()


def _now() -> str:
    return datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
