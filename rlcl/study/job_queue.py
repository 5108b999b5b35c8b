"""Queues of jobs that are still to be started: given jobs, or the cells of a grid that several processes share."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from attrs import define, field

from rlcl.config import unstructure
from rlcl.study.claims import Session
from rlcl.study.grid import CellState, Grid
from rlcl.study.suite import SuiteCell
from rlcl.types import Job

__all__ = ["CellQueue", "GivenJobs", "JobQueue", "cell_job"]

ELSEWHERE_SECONDS = 2.0  # time between two looks at the cells that other processes run; it doubles up to
LONGEST_SECONDS = 15.0  # while nothing has changed
LOOKED_AT = 8  # cells of a look: a thousand idle machines must not ask for all cells at once
COLLISIONS = 3  # claims in a row that failed, after which a cell far from those of others is tried


class JobQueue(Protocol):
    """The jobs that are still to be started."""

    @property
    def is_empty(self) -> bool:
        """Whether no job is left."""
        ...

    def take(self) -> Job | None:
        """Return the next job; None if there is none at this moment."""
        ...

    def clear(self) -> None:
        """Remove all jobs."""
        ...


@define(eq=False)
class GivenJobs:
    """A queue of given jobs.

    Args:
        jobs: the jobs in the order of their start.
    """

    jobs: deque[Job] = field()

    @property
    def is_empty(self) -> bool:
        return not self.jobs

    def take(self) -> Job | None:
        return self.jobs.popleft() if self.jobs else None

    def clear(self) -> None:
        self.jobs.clear()


def cell_job(grid: Grid, cell: SuiteCell) -> Job:
    """Return the job that runs a cell of a grid."""
    return Job(name=cell.run, config=unstructure(cell.experiment), seed=cell.seed, root=grid.root, log=grid.log(cell))


@define(eq=False)
class CellQueue:
    """The unfinished cells of a grid that no other process runs.

    Args:
        grid: the grid.
        session: session of this process, in which it claims cells.
        states: the states of the cells.
        changed: function called with the state of a cell that another process runs or has run.
    """

    grid: Grid
    session: Session
    states: Iterable[CellState]
    changed: Callable[[CellState], None]
    _waiting: deque[CellState] = field(init=False)
    _elsewhere: list[CellState] = field(init=False, factory=list)  # cells that other processes run
    _outcomes: dict[str, Mapping[str, Any]] = field(init=False, factory=dict)  # of earlier calls, by run
    _next_look: float = field(init=False, default=0.0)
    _pause: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._waiting = deque(self.states)
        self._outcomes = {
            state.cell.run: self.grid.outcome(state.cell) for state in self._waiting if state.state != "missing"
        }

    @property
    def is_empty(self) -> bool:
        return not self._waiting and not self._elsewhere

    def clear(self) -> None:
        self._waiting.clear()
        self._elsewhere.clear()

    def take(self) -> Job | None:
        """Claim the next cell and return its job; None if others run all cells that are left."""
        if self._elsewhere and time.monotonic() >= self._next_look:
            self._look_again()
        collisions = 0
        while self._waiting:
            state = self._waiting.popleft()
            if other := self.session.claim(state.cell.file_name):
                self._run_elsewhere(state, f"by {other}")
                collisions += 1
                if collisions % COLLISIONS == 0 and self._waiting:
                    self._waiting.rotate(-secrets.randbelow(len(self._waiting)))
                continue
            self._pause, self._next_look = 0.0, 0.0  # others may have ended, too
            if self._ended_elsewhere(state):
                self.session.release(state.cell.file_name)
                self.changed(state)
            else:
                return cell_job(self.grid, state.cell)
        return None

    def _look_again(self) -> None:
        """Try some of the cells that other processes run."""
        for _ in range(min(LOOKED_AT, len(self._elsewhere))):
            self._waiting.append(self._elsewhere.pop(secrets.randbelow(len(self._elsewhere))))
        self._wait()

    def _wait(self) -> None:
        self._pause = min(max(ELSEWHERE_SECONDS, 2 * self._pause), LONGEST_SECONDS)
        self._next_look = time.monotonic() + self._pause

    def put_back(self, state: CellState) -> None:
        """Return a cell whose run another process works on; it is tried again later."""
        self._run_elsewhere(state, "by another process")
        self._wait()

    def _run_elsewhere(self, state: CellState, message: str) -> None:
        if not self._elsewhere and not self._pause:
            self._wait()
        self._elsewhere.append(state)
        if state.state != "running":
            state.state, state.messages = "running", (message,)
            self.changed(state)

    def _ended_elsewhere(self, state: CellState) -> bool:
        """Read the state of a cell; return True if another process has run it to its end since this call began."""
        self.grid.refresh(state)
        return state.state == "finished" or self.grid.outcome(state.cell) != self._outcomes.get(state.cell.run, {})
