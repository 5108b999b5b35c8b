"""Runs the cells of a suite: only what is missing or failed, each alone, whatever becomes of the others."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from attrs import define, field

from rlcl.config import unstructure
from rlcl.errors import ConfigError, RlclError
from rlcl.launch.stopping import Stop, catching_signals
from rlcl.study.grid import CellState, Grid
from rlcl.study.suite import Cell, Suite
from rlcl.types import Capacity, Ended, Job, Launcher, Started

__all__ = ["GridStopped", "View", "capacity_for", "run_suite"]

GRACE_SECONDS = 30.0  # to save a checkpoint in
WAIT_SECONDS = 0.25  # between two looks at the clock
LAST_LINES = 3
# How a run ends that was asked to: after a checkpoint, or before it could note the signal.
STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)


class GridStopped(RlclError):
    """SIGINT or SIGTERM, after the cells that ran have saved a checkpoint."""

    def __init__(self, signum: int, folder: Path) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}; the same command goes on with {folder}")
        self.exit_status = 128 + signum


class View(Protocol):
    """What shows a grid while it is worked on."""

    def show(self, grid: Grid, changed: CellState | None = None) -> None:
        """Called at each change, with the cell that it concerns, and now and then in between."""
        ...


def run_suite(
    suite: Suite,
    launcher: Launcher,
    view: View,
    root: Path = Path("runs"),
    only: Sequence[Cell] | None = None,
    timeout: float | None = None,
    workers: int | None = None,
) -> Grid:
    """Runs the cells that are not finished, and says what has become of all.

    Args:
        suite: as :func:`rlcl.study.suite.load_suite` gives it.
        launcher: where the cells run; built from ``suite.launcher``, or another.
        view: shows their states.
        root: the folder of all runs.
        only: these cells alone.
        timeout: seconds that a cell may take in this call, from its start; none by default.
        workers: cells at once; as many as the launcher has room for by default, and never more.

    Raises:
        ConfigError: a cell cannot be built; nothing was run.
        GridStopped: a signal came; the same call goes on.
    """
    grid = Grid(suite, root, only)
    with grid.locked(), catching_signals() as stop:
        todo = [state for state in grid.asked if state.state != "finished"]
        view.show(grid)
        room = capacity_for(launcher, [state.cell for state in grid.asked]).slots
        slots = room if workers is None else min(workers, room)
        check_cells(suite, [s.cell for s in todo if not (grid.folder / s.cell.run).is_dir()], launcher, slots, stop)
        work = Work(grid, {state.cell.run: state for state in todo}, launcher, slots, view, timeout, stop)
        work.run()
        if stop.signum is not None:
            raise GridStopped(stop.signum, grid.folder)
    return grid


def capacity_for(launcher: Launcher, cells: Sequence[Cell]) -> Capacity:
    """How many of some cells a launcher has room for at once; all have as many threads as the one that has most."""
    return launcher.capacity(max((cell.experiment.threads for cell in cells), default=1))


def check_cells(suite: Suite, cells: Sequence[Cell], launcher: Launcher, slots: int, stop: Stop) -> None:
    """Builds stream and learner of each config once, as ``rlcl check`` does.

    Raises:
        ConfigError: all problems of all cells.
    """
    first: dict[str, Cell] = {}
    for cell in cells:
        first.setdefault(cell.experiment.hash, cell)
    told: dict[str, tuple[str, ...]] = {}
    with TemporaryDirectory(prefix="rlcl-") as folder:
        jobs = [
            Job(
                name=key,
                work="check",
                config=unstructure(cell.experiment),
                seed=cell.seed,
                root=Path(),
                log=Path(folder) / key,
            )
            for key, cell in first.items()
        ]
        for ended in drive(jobs, launcher, slots, stop):
            if ended.status and stop.signum is None:
                told[ended.name] = last_lines(Path(folder) / ended.name) or (how(ended.status),)
    if told:
        places = {key: f"{suite.file}: cell {cell.learner}" for key, cell in first.items() if key in told}
        raise ConfigError([f"{at}: {line.removeprefix('rlcl: ')}" for key, at in places.items() for line in told[key]])


def drive(
    jobs: Iterable[Job],
    launcher: Launcher,
    slots: int,
    stop: Stop,
    starts: Callable[[str], None] = lambda name: None,
    watch: Callable[[], None] = lambda: None,
) -> Iterator[Ended]:
    """Starts jobs while there is room, and yields their ends; a signal stops them all.

    Args:
        jobs: in their order.
        launcher: where they run.
        slots: how many at once.
        stop: notes the signal.
        starts: is told the name of each job whose process has started.
        watch: is called a few times a second.
    """
    waiting, running = deque(jobs), set[str]()
    asked: float | None = None  # when they were asked to stop
    while waiting or running:
        while waiting and len(running) < slots and stop.signum is None:
            job = waiting.popleft()
            running.add(job.name)
            launcher.start(job)
        for report in launcher.reports(WAIT_SECONDS):
            if isinstance(report, Started):
                starts(report.name)
                continue
            running.discard(report.name)
            yield report
        watch()
        if stop.signum is not None:
            waiting.clear()
            late = asked is not None and time.monotonic() - asked > GRACE_SECONDS
            for name in running if late or asked is None else ():
                launcher.stop(name, at_once=late)
            asked = time.monotonic() if asked is None else asked


@define(eq=False)
class Work:
    """One call's work on a grid.

    Args:
        grid: the states of all cells.
        todo: those to be run, by the names of their runs.
        launcher: where.
        slots: how many at once.
        view: shows the states.
        timeout: seconds for each; None for no end.
        stop: notes a signal.
    """

    grid: Grid
    todo: dict[str, CellState]
    launcher: Launcher
    slots: int
    view: View
    timeout: float | None
    stop: Stop
    _started: dict[str, float] = field(init=False, factory=dict)
    _late: set[str] = field(init=False, factory=set)  # that were told that their time is up

    def run(self) -> None:
        """Until each has ended, or a signal has come."""
        self._changed()
        jobs = [
            Job(
                name=name,
                config=unstructure(state.cell.experiment),
                seed=state.cell.seed,
                root=self.grid.root,
                log=self.grid.log(state.cell),
            )
            for name, state in self.todo.items()
        ]
        for ended in drive(jobs, self.launcher, self.slots, self.stop, self._start, self._watch):
            self._end(ended)

    def _changed(self, state: CellState | None = None) -> None:
        self.grid.write()
        self.view.show(self.grid, state)

    def _start(self, name: str) -> None:
        self._started[name] = time.monotonic()
        self.todo[name].state = "running"
        self._changed(self.todo[name])

    def _watch(self) -> None:
        timeout = float("inf") if self.timeout is None else self.timeout
        for name, started in self._started.items():
            over = time.monotonic() - started - timeout
            if over > GRACE_SECONDS or (over > 0 and name not in self._late):
                self._late.add(name)
                self.launcher.stop(name, at_once=over > GRACE_SECONDS)
        self.view.show(self.grid)

    def _end(self, ended: Ended) -> None:
        state = self.todo[ended.name]
        now = time.monotonic()
        state.seconds, state.status = now - self._started.pop(ended.name, now), ended.status
        if ended.status == 0:
            state.state, state.told = "finished", ()
        else:
            stopped = self.stop.signum is not None and ended.status in STOPPED
            state.state = "timed out" if ended.name in self._late else "interrupted" if stopped else "failed"
            late = f"stopped after {self.timeout:g} s, its --timeout" if state.state == "timed out" else ""
            state.told = (*last_lines(self.grid.log(state.cell)), late or how(ended.status))
        self._changed(state)


def how(status: int) -> str:
    """``exit status 1``, or ``killed by SIGKILL``."""
    if status >= 0:
        return f"exit status {status}"
    memory = ", as the system does where memory runs out" if status == -signal.SIGKILL else ""
    return f"killed by {signal.Signals(-status).name}{memory}"


def last_lines(log: Path) -> tuple[str, ...]:
    """What a log ends with: what rlcl said was wrong, else the last lines of whatever stands there."""
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ()
    return tuple([line for line in lines if line.startswith("rlcl: ")] or lines[-LAST_LINES:])
