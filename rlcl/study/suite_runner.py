"""Execution of the missing and failed cells of a suite, each in a separate process."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from attrs import define, field

from rlcl.config import unstructure
from rlcl.errors import ConfigError, RlclError
from rlcl.launch.signals import StopSignal, catch_signals
from rlcl.study.claims import Session
from rlcl.study.grid import CellState, Grid
from rlcl.study.job_queue import CellQueue, GivenJobs, JobQueue
from rlcl.study.suite import Suite, SuiteCell
from rlcl.types import Capacity, Ended, Job, Launcher, Started

__all__ = ["GridStopped", "ProgressView", "launcher_capacity", "run_suite"]

GRACE_SECONDS = 30.0  # time to save a checkpoint after SIGTERM
WAIT_SECONDS = 0.25  # maximum time between two checks of the timeouts
LAST_LINES = 3  # lines of a log that are reported
# Exit statuses of a run stopped by SIGTERM: after a checkpoint, or before its signal handler was installed.
STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)
IN_USE = os.EX_TEMPFAIL  # exit status of a run that another process works on


class GridStopped(RlclError):
    """A grid that was stopped by SIGINT or SIGTERM, after the running cells have saved a checkpoint.

    Args:
        signum: number of the signal.
        folder: the folder of the suite.
    """

    def __init__(self, signum: int, folder: Path) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}; run the same command to resume {folder}")
        self.exit_status = 128 + signum


class ProgressView(Protocol):
    """Display of a grid's progress."""

    def show(self, grid: Grid, changed: CellState | None = None) -> None:
        """Update the display; called at each change with the changed cell, and regularly without one."""
        ...


def run_suite(
    suite: Suite,
    launcher: Launcher,
    view: ProgressView,
    root: Path = Path("runs"),
    only: Sequence[SuiteCell] | None = None,
    timeout: float | None = None,
    workers: int | None = None,
) -> Grid:
    """Run the unfinished cells of a suite, and return the grid with the states of all cells.

    Several processes can run the same suite at the same time, also on machines that share the folder: each claims the
    cells that it runs, and at the end waits for those that others run. If a process dies, the others run its cells.

    Args:
        suite: a suite from :func:`rlcl.study.suite.load_suite`.
        launcher: launcher that runs the cells; built from ``suite.launcher``, or another one.
        view: display of the progress.
        root: the folder of all runs.
        only: the cells to run; all by default.
        timeout: time limit of a cell in this call, in seconds from its start; no limit by default.
        workers: number of concurrent cells; the launcher's capacity is the default and the limit.

    Raises:
        ConfigError: a cell cannot be built; no cell was run.
        GridStopped: a signal was received; the same call resumes the grid.
    """
    grid = Grid(suite, root, only)
    with grid.session() as session, catch_signals() as stop:
        unfinished = [state for state in grid.selected if state.state != "finished"]
        view.show(grid)
        capacity = launcher_capacity(launcher, [state.cell for state in grid.selected]).slots
        slots = capacity if workers is None else min(workers, capacity)
        new_cells = [s.cell for s in unfinished if not (grid.folder / s.cell.run).is_dir()]
        check_cells(suite, new_cells, launcher, slots, stop)
        SuiteRun(grid, session, unfinished, launcher, slots, view, timeout, stop).run()
        if stop.signum is not None:
            raise GridStopped(stop.signum, grid.folder)
    return grid


def launcher_capacity(launcher: Launcher, cells: Sequence[SuiteCell]) -> Capacity:
    """Return a launcher's capacity for some cells; each cell counts with the maximum number of threads among them."""
    return launcher.capacity(max((cell.experiment.threads for cell in cells), default=1))


def check_cells(suite: Suite, cells: Sequence[SuiteCell], launcher: Launcher, slots: int, stop: StopSignal) -> None:
    """Build stream and learner of each config once, as ``rlcl check`` does.

    Raises:
        ConfigError: some cells cannot be built; the error contains all problems.
    """
    first_cells: dict[str, SuiteCell] = {}
    for cell in cells:
        first_cells.setdefault(cell.experiment.hash, cell)
    problems: dict[str, tuple[str, ...]] = {}
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
            for key, cell in first_cells.items()
        ]
        for ended in run_jobs(GivenJobs(deque(jobs)), launcher, slots, stop):
            if ended.status and stop.signum is None:
                problems[ended.name] = last_lines(Path(folder) / ended.name) or (exit_reason(ended.status),)
    if problems:
        raise ConfigError(
            [
                f"{suite.file}: cell {cell.learner}: {line.removeprefix('rlcl: ')}"
                for key, cell in first_cells.items()
                for line in problems.get(key, ())
            ]
        )


def run_jobs(
    queue: JobQueue,
    launcher: Launcher,
    slots: int,
    stop: StopSignal,
    on_start: Callable[[str], None] = lambda name: None,
    on_poll: Callable[[], None] = lambda: None,
) -> Iterator[Ended]:
    """Run jobs, at most ``slots`` at once, and yield the end of each; a signal stops all jobs.

    Args:
        queue: the jobs.
        launcher: launcher that runs the jobs.
        slots: maximum number of concurrent jobs.
        stop: the received signal.
        on_start: function called with the name of each job whose process has started.
        on_poll: function called a few times per second.
    """
    running = set[str]()
    stop_time: float | None = None  # when the jobs received SIGTERM
    while running or not queue.is_empty:
        while len(running) < slots and stop.signum is None and (job := queue.take()) is not None:
            running.add(job.name)
            launcher.start(job)
        if not running and not queue.is_empty:
            time.sleep(WAIT_SECONDS)
        for report in launcher.reports(WAIT_SECONDS) if running else ():
            if isinstance(report, Started):
                on_start(report.name)
                continue
            running.discard(report.name)
            yield report
        on_poll()
        if stop.signum is not None:
            queue.clear()
            late = stop_time is not None and time.monotonic() - stop_time > GRACE_SECONDS
            for name in running if late or stop_time is None else ():
                launcher.stop(name, at_once=late)
            stop_time = time.monotonic() if stop_time is None else stop_time


@define(eq=False)
class SuiteRun:
    """Execution of the unfinished cells of a grid in one call.

    Args:
        grid: the grid with the states of all cells.
        session: session of this process, in which it claims cells.
        unfinished: the states of the cells to run.
        launcher: launcher that runs the cells.
        slots: maximum number of concurrent cells.
        view: display of the progress.
        timeout: time limit of each cell in seconds; None for no limit.
        stop: the received signal.
    """

    grid: Grid
    session: Session
    unfinished: Sequence[CellState]
    launcher: Launcher
    slots: int
    view: ProgressView
    timeout: float | None
    stop: StopSignal
    _states: dict[str, CellState] = field(init=False)  # by the names of their runs
    _queue: CellQueue = field(init=False)
    _started: dict[str, float] = field(init=False, factory=dict)
    _late: set[str] = field(init=False, factory=set)  # cells that were stopped at their time limit

    def __attrs_post_init__(self) -> None:
        self._states = {state.cell.run: state for state in self.unfinished}
        self._queue = CellQueue(self.grid, self.session, self.unfinished, self._show)

    def run(self) -> None:
        """Run the cells until each has ended or a signal has stopped them."""
        for ended in run_jobs(
            self._queue, self.launcher, self.slots, self.stop, self._mark_running, self._stop_late_cells
        ):
            self._mark_ended(ended)

    def _show(self, state: CellState) -> None:
        self.view.show(self.grid, state)

    def _mark_running(self, name: str) -> None:
        self._started[name] = time.monotonic()
        state = self._states[name]
        state.state, state.messages = "running", ()
        self._show(state)

    def _stop_late_cells(self) -> None:
        timeout = float("inf") if self.timeout is None else self.timeout
        for name, started in self._started.items():
            excess = time.monotonic() - started - timeout
            if excess > GRACE_SECONDS or (excess > 0 and name not in self._late):
                self._late.add(name)
                self.launcher.stop(name, at_once=excess > GRACE_SECONDS)
        self.view.show(self.grid)

    def _mark_ended(self, ended: Ended) -> None:
        state = self._states[ended.name]
        now = time.monotonic()
        state.seconds, state.status = now - self._started.pop(ended.name, now), ended.status
        if ended.status == IN_USE:
            self._queue.put_back(state)
        else:
            self._set_outcome(state, ended.status)
            self._show(state)
        self.session.release(state.cell.file_name)

    def _set_outcome(self, state: CellState, status: int) -> None:
        if status == 0:
            state.state, state.messages = "finished", ()
        else:
            stopped = self.stop.signum is not None and status in STOPPED
            late = state.cell.run in self._late
            state.state = "timed out" if late else "interrupted" if stopped else "failed"
            reason = f"stopped after {self.timeout:g} s, its --timeout" if late else exit_reason(status)
            state.messages = (*last_lines(self.grid.log(state.cell)), reason)
        self.grid.write_outcome(state)


def exit_reason(status: int) -> str:
    """Return a text such as ``exit status 1`` or ``killed by SIGKILL``."""
    if status >= 0:
        return f"exit status {status}"
    hint = " (possibly out of memory)" if status == -signal.SIGKILL else ""
    return f"killed by {signal.Signals(-status).name}{hint}"


def last_lines(log: Path) -> tuple[str, ...]:
    """Return the error lines of rlcl in a log, else the last lines of the log."""
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ()
    return tuple([line for line in lines if line.startswith("rlcl: ")] or lines[-LAST_LINES:])
