"""Composite of all sinks of one run, from which a failing sink is removed."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from rlcl.config import Component, build, component
from rlcl.errors import short_error
from rlcl.sinks import ALWAYS
from rlcl.types import Boundary, Event, Record, RunStart, Sink

__all__ = ["RunSinks", "run_sinks"]


def run_sinks(components: Sequence[Component]) -> RunSinks:
    """Build the sinks of a run: the experiment's, and those of ``ALWAYS`` that it does not list.

    Raises:
        ConfigError: a constructor rejects its settings.
    """
    names = {sink.type for sink in components}
    listed = (*components, *(component("sink", name) for name in ALWAYS if name not in names))
    sinks = build(listed, ("sinks",))
    return RunSinks([(sink.type, built) for sink, built in zip(listed, sinks, strict=True)])


@define(eq=False)
class RunSinks(Sink):
    """A sink that passes everything on to several sinks, in their order.

    A sink that raises an error is closed and receives nothing more. The error is printed once and written to
    ``log.txt``, and the run continues: its files are complete without any sink.

    Args:
        sinks: names and sinks of one run.
    """

    sinks: Sequence[tuple[str, Sink]]
    _open: list[tuple[str, Sink]] = field(init=False, factory=list)
    _run: RunStart = field(init=False)

    def open(self, run: RunStart) -> None:
        self._run = run
        for name, sink in self.sinks:
            try:
                sink.open(run)
            except Exception as error:
                self._report(name, error)
            else:
                self._open.append((name, sink))

    def write(self, item: Event | Record | Boundary) -> None:
        self._call_each(lambda sink: sink.write(item))

    def step(self, step: int, experience: int) -> None:
        self._call_each(lambda sink: sink.step(step, experience))

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._call_each(lambda sink: sink.finish(summary))

    def close(self) -> None:
        while self._open:
            name, sink = self._open.pop()
            try:
                sink.close()
            except Exception as error:
                self._report(name, error)

    def _call_each(self, call: Callable[[Sink], None]) -> None:
        for each in tuple(self._open):
            name, sink = each
            try:
                call(sink)
            except Exception as error:
                self._open.remove(each)
                with suppress(Exception):  # the first error is the one to report
                    sink.close()
                self._report(name, error)

    def _report(self, name: str, error: Exception) -> None:
        message = f"sink {name} stopped ({short_error(error)}); the run continues, and its folder has all results"
        self._run.console.print(f"{self._run.title}: {message}", style="yellow", markup=False, soft_wrap=True)
        with suppress(OSError), (self._run.folder / "log.txt").open("a") as log:
            log.write(f"{message}\n{''.join(traceback.format_exception(error))}")

    def seeds_changed(self, folder: Path) -> None:
        for name, sink in self.sinks:
            try:
                sink.seeds_changed(folder)
            except Exception as error:
                warnings.warn(f"sink {name}: its view of all seeds is not current ({short_error(error)})", stacklevel=2)

    def look(self, folder: Path) -> str:
        return "\n".join(filter(None, (sink.look(folder) for _, sink in self.sinks)))
