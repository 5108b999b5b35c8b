"""What is known of the cells of a suite: their states, kept in ``suite.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from attrs import define, field

from rlcl.errors import RunFolderError
from rlcl.lock import Held, locked
from rlcl.strict_json import json_text
from rlcl.study.suite import Cell, Suite
from rlcl.tracking.folder import disk_errors, write_atomically
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import state_of

__all__ = ["CellState", "Grid", "State"]

State = Literal["missing", "running", "finished", "failed", "timed out", "interrupted", "crashed"]


@define(eq=False)
class CellState:
    """What has become of a cell; changes as the grid is worked on.

    Args:
        cell: what it runs.
        state: ``missing`` where it has not been run.
        status: its last process's exit status, negative for the signal that killed it; None before its end.
        seconds: of its last process, from start to end.
        told: why it did not finish: the last lines of its log, and how its process ended.
    """

    cell: Cell
    state: State = "missing"
    status: int | None = None
    seconds: float = 0.0
    told: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """As ``suite.json`` holds it."""
        return {
            "name": self.cell.name,
            "labels": dict(self.cell.labels),
            "seed": self.cell.seed,
            "hash": self.cell.experiment.hash,
            "run": self.cell.run,
            "state": self.state,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "told": list(self.told),
        }


@define(eq=False)
class Grid:
    """A suite, its folder, and the states of its cells.

    Args:
        suite: what is run.
        root: the folder of all runs.
        only: the cells that are to be run; all by default.
    """

    suite: Suite
    root: Path
    only: Sequence[Cell] | None = None
    states: list[CellState] = field(init=False)

    def __attrs_post_init__(self) -> None:
        before = {row.get("run"): row for row in read_json(self.folder / "suite.json").get("cells", ())}
        self.states = [self._found(cell, before.get(cell.run, {})) for cell in self.suite.cells]

    @property
    def folder(self) -> Path:
        """``<root>/<name of the suite>``: its runs lie in it as those of an experiment do."""
        return self.root / self.suite.name

    @property
    def asked(self) -> list[CellState]:
        """The states of the cells that are to be run."""
        if self.only is None:
            return self.states
        runs = {cell.run for cell in self.only}
        return [state for state in self.states if state.cell.run in runs]

    def log(self, cell: Cell) -> Path:
        """What a cell's last process has printed."""
        return self.folder / "logs" / f"{cell.experiment.hash}-seed{cell.seed}.txt"

    def counts(self) -> Counter[str]:
        """How many cells are in each state."""
        return Counter(state.state for state in self.states)

    def _found(self, cell: Cell, before: Mapping[str, Any]) -> CellState:
        """A cell after earlier calls: its run folder says whether it finished, ``suite.json`` why it did not."""
        said, known = state_of(self.folder / cell.run), before.get("state")
        state: State = "interrupted"
        if said == "finished":
            state = "finished"
        elif said == "running":
            state = "running"
        elif known in ("failed", "timed out"):
            state = known
        elif said == "crashed":
            state = "crashed"
        elif said == "unknown":
            state = "missing"
        told = () if state in ("finished", "missing") else tuple(before.get("told", ()))
        return CellState(cell, state, before.get("status"), before.get("seconds", 0.0), told)

    def write(self) -> None:
        """Replaces ``suite.json``."""
        suite = self.suite
        content = {
            "name": suite.name,
            "statement": suite.statement,
            "file": suite.file,
            "budget": suite.budget,
            "axes": {name: list(labels) for name, labels in suite.axes.items()},
            "cells": [state.row() for state in self.states],
            "definition": suite.definition,
        }
        with disk_errors(self.folder):
            write_atomically(self.folder / "suite.json", json_text(content, indent=1) + "\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder, and keeps a second process off it.

        Raises:
            RunFolderError: another process works on it, or it cannot be written.
        """
        with disk_errors(self.folder):
            (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            try:
                with disk_errors(self.folder):
                    held.enter_context(locked(self.folder / "lock"))
            except Held as error:
                told = f"another process ({error.holder}) works on {self.folder}; wait for it, or end it"
                raise RunFolderError(told) from error
            yield
