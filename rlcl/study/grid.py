"""Grid of a suite's cells and their states, stored in ``suite.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from attrs import define, field

from rlcl.errors import RunFolderError
from rlcl.lock import LockHeldError, locked
from rlcl.strict_json import json_text
from rlcl.study.suite import Suite, SuiteCell
from rlcl.tracking.folder import disk_errors, write_atomically
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import state_of

__all__ = ["CellState", "CellStateName", "Grid"]

CellStateName = Literal["missing", "running", "finished", "failed", "timed out", "interrupted", "crashed"]


@define(eq=False)
class CellState:
    """State of a cell, updated while the grid runs.

    Args:
        cell: the cell.
        state: name of the state; ``missing`` if the cell has not been run.
        status: exit status of its last process, negative for the signal that killed it; None before its end.
        seconds: duration of its last process.
        messages: why it did not finish: the last lines of its log, and how its process ended.
    """

    cell: SuiteCell
    state: CellStateName = "missing"
    status: int | None = None
    seconds: float = 0.0
    messages: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """Return the entry of the cell in ``suite.json``."""
        return {
            "name": self.cell.name,
            "labels": dict(self.cell.labels),
            "seed": self.cell.seed,
            "hash": self.cell.experiment.hash,
            "run": self.cell.run,
            "state": self.state,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "told": list(self.messages),
        }


@define(eq=False)
class Grid:
    """A suite with its folder and the states of its cells.

    Args:
        suite: the suite.
        root: the folder of all runs.
        only: the cells to run; all by default.
    """

    suite: Suite
    root: Path
    only: Sequence[SuiteCell] | None = None
    states: list[CellState] = field(init=False)

    def __attrs_post_init__(self) -> None:
        rows = {row.get("run"): row for row in read_json(self.folder / "suite.json").get("cells", ())}
        self.states = [self._stored_state(cell, rows.get(cell.run, {})) for cell in self.suite.cells]

    @property
    def folder(self) -> Path:
        """The folder ``<root>/<name of the suite>``, which contains the runs like the folder of an experiment."""
        return self.root / self.suite.name

    @property
    def selected(self) -> list[CellState]:
        """The states of the cells to run."""
        if self.only is None:
            return self.states
        runs = {cell.run for cell in self.only}
        return [state for state in self.states if state.cell.run in runs]

    def log(self, cell: SuiteCell) -> Path:
        """Return the file with the output of a cell's last process."""
        return self.folder / "logs" / f"{cell.experiment.hash}-seed{cell.seed}.txt"

    def counts(self) -> Counter[str]:
        """Count the cells in each state."""
        return Counter(state.state for state in self.states)

    def _stored_state(self, cell: SuiteCell, row: Mapping[str, Any]) -> CellState:
        """Return the state of a cell after earlier calls, from its run folder and its row in ``suite.json``."""
        run_state, row_state = state_of(self.folder / cell.run), row.get("state")
        state: CellStateName = "interrupted"
        if run_state == "finished":
            state = "finished"
        elif run_state == "running":
            state = "running"
        elif row_state in ("failed", "timed out"):
            state = row_state
        elif run_state == "crashed":
            state = "crashed"
        elif run_state == "unknown":
            state = "missing"
        messages = () if state in ("finished", "missing") else tuple(row.get("told", ()))
        return CellState(cell, state, row.get("status"), row.get("seconds", 0.0), messages)

    def write(self) -> None:
        """Write ``suite.json``."""
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
        """Make the folder and lock it against other processes.

        Raises:
            RunFolderError: another process holds the lock, or the folder cannot be written.
        """
        with disk_errors(self.folder):
            (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        with ExitStack() as lock:
            try:
                with disk_errors(self.folder):
                    lock.enter_context(locked(self.folder / "lock"))
            except LockHeldError as error:
                message = f"another process ({error.holder}) works on {self.folder}; wait for it, or end it"
                raise RunFolderError(message) from error
            yield
