"""Composite of all sinks of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import define, field

from rlcl.config import Component, build, component
from rlcl.sinks import ALWAYS
from rlcl.types import Boundary, Event, Record, RunStart, Sink

__all__ = ["RunSinks", "run_sinks"]


def run_sinks(components: Sequence[Component]) -> RunSinks:
    """Build the sinks of a run: the experiment's, and those of ``ALWAYS`` that it does not list.

    Raises:
        ConfigError: a constructor rejects its settings.
    """
    names = {sink.type for sink in components}
    defaults = [component("sink", name) for name in ALWAYS if name not in names]
    return RunSinks(build((*components, *defaults), ("sinks",)))


@define(eq=False)
class RunSinks(Sink):
    """A sink that passes everything on to several sinks, in their order.

    Args:
        sinks: sinks of one run. If one of them cannot be opened, those that are already open are closed.
    """

    sinks: tuple[Sink, ...]
    _opened: ExitStack = field(init=False, factory=ExitStack)

    def open(self, run: RunStart) -> None:
        for sink in self.sinks:
            sink.open(run)
            self._opened.callback(sink.close)

    def write(self, item: Event | Record | Boundary) -> None:
        for sink in self.sinks:
            sink.write(item)

    def step(self, step: int, experience: int) -> None:
        for sink in self.sinks:
            sink.step(step, experience)

    def finish(self, summary: Mapping[str, Any]) -> None:
        for sink in self.sinks:
            sink.finish(summary)

    def close(self) -> None:
        self._opened.close()

    def seeds_changed(self, folder: Path) -> None:
        for sink in self.sinks:
            sink.seeds_changed(folder)

    def look(self, folder: Path) -> str:
        return "\n".join(filter(None, (sink.look(folder) for sink in self.sinks)))
