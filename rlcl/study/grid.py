"""Grid of a suite's cells and their states, stored in ``suite.json``, the run folders and ``logs/``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from attrs import define, field

from rlcl.errors import RunFolderError
from rlcl.strict_json import json_text
from rlcl.study.claims import Session, other_sessions
from rlcl.study.suite import Suite, SuiteCell
from rlcl.tracking.folder import disk_errors, write_atomically, write_json
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import state_of

__all__ = ["CellState", "CellStateName", "Grid"]

CellStateName = Literal["missing", "running", "finished", "failed", "timed out", "interrupted", "crashed"]

UNFINISHED: Mapping[str, CellStateName] = {"crashed": "crashed", "unknown": "missing"}  # by state of the run


@define(eq=False)
class CellState:
    """State of a cell, updated while the grid runs.

    Args:
        cell: the cell.
        state: name of the state; ``missing`` if the cell has not been run.
        status: exit status of its last process, negative for the signal that killed it; None before its end.
        seconds: duration of its last process.
        messages: why it did not finish: the last lines of its log, and how its process ended; or where it runs.
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
        self.states = [CellState(cell) for cell in self.suite.cells]
        if self.folder.is_dir():
            for state in self.states:
                self.refresh(state)

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
        return self.folder / "logs" / f"{cell.file_name}.txt"

    def counts(self) -> Counter[str]:
        """Count the cells in each state."""
        return Counter(state.state for state in self.states)

    def outcome(self, cell: SuiteCell) -> Mapping[str, Any]:
        """Return how the last process of a cell ended, as stored by :meth:`write_outcome`; empty before."""
        return read_json(self.log(cell).with_suffix(".json"), "outcome")

    def refresh(self, state: CellState) -> None:
        """Read the state of a cell after this and other processes, from its run folder and its outcome."""
        run_state = state_of(self.folder / state.cell.run)
        if run_state in ("finished", "running"):
            state.state = "finished" if run_state == "finished" else "running"
            state.status, state.messages = 0 if run_state == "finished" else None, ()
            return
        outcome = self.outcome(state.cell)
        if outcome.get("state") in ("failed", "timed out"):
            state.state = outcome["state"]
        else:
            state.state = UNFINISHED.get(run_state, "interrupted")
        state.status, state.seconds = outcome.get("status"), outcome.get("seconds", 0.0)
        state.messages = () if state.state == "missing" else tuple(outcome.get("messages", ()))

    def write_outcome(self, state: CellState) -> None:
        """Write how the last process of a cell ended."""
        content = {
            "state": state.state,
            "status": state.status,
            "seconds": round(state.seconds, 3),
            "messages": list(state.messages),
        }
        write_json(self.log(state.cell).with_suffix(".json"), content)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Write ``suite.json``, and open a session, in which cells can be claimed.

        Raises:
            RunFolderError: another process runs other cells in this folder, or the folder cannot be written.
        """
        with ExitStack() as stack:
            with disk_errors(self.folder):
                (self.folder / "logs").mkdir(parents=True, exist_ok=True)
                self._write(self.folder / "suite.json")
                session = stack.enter_context(closing(Session(self.folder / "claims")))
            yield session

    def _write(self, file: Path) -> None:
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
        text = json_text(content, indent=1) + "\n"
        stored = read_json(file)
        if stored.get("cells", content["cells"]) != content["cells"] and other_sessions(self.folder / "claims"):
            raise RunFolderError(
                f"another process runs other cells in {self.folder}; wait for it or stop it, or give this suite "
                "another name"
            )
        write_atomically(file, text)
