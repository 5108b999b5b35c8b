"""Progress display of a grid: a live table on a terminal, else a line per finished cell."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from attrs import define, field
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlcl.evaluation.metric_meaning import main_metric, meanings_in
from rlcl.study.grid import CellState, Grid
from rlcl.tracking.json_files import read_json

__all__ = ["ProgressLines", "ProgressTable", "final_table", "progress_display"]

STYLES = {
    "finished": "green",
    "failed": "red",
    "timed out": "red",
    "interrupted": "yellow",
    "crashed": "red",
    "running": "cyan",
}
UNFINISHED = ("missing", "running", "interrupted", "crashed")
MAX_ROWS = 8  # maximum number of cells per state in the live table, since a terminal has few lines


def progress_display(console: Console) -> ProgressLines | ProgressTable:
    """Return the table for a terminal, else the lines; both are context managers."""
    return ProgressTable(console) if console.is_terminal else ProgressLines(console)


@define(eq=False)
class RemainingTime:
    """Estimate of a grid's remaining time from the time per finished cell."""

    _started: float | None = field(init=False, default=None)
    _ended_at_start: int = field(init=False, default=0)

    def text(self, grid: Grid) -> str:
        """Return a text such as ``about 3 min left``; empty before the first cell has ended."""
        ended = sum(state.state not in UNFINISHED for state in grid.selected)
        remaining = len(grid.selected) - ended
        if self._started is None:
            self._started, self._ended_at_start = time.monotonic(), ended
        done = ended - self._ended_at_start
        if done <= 0 or not remaining:
            return ""
        return f"about {format_duration((time.monotonic() - self._started) / done * remaining)} left"


def format_duration(seconds: float) -> str:
    """Format seconds as ``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def format_counts(counts: Mapping[str, int]) -> str:
    """Format counts as ``3 finished, 2 running, 7 missing``."""
    names = ("finished", "running", "failed", "timed out", "interrupted", "crashed", "missing")
    return ", ".join(f"{counts[name]} {name}" for name in names if counts[name])


@define(eq=False)
class ProgressLines:
    """Display that prints a line for each cell that ends.

    Args:
        console: console for the lines.
    """

    console: Console
    _remaining: RemainingTime = field(init=False, factory=RemainingTime)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, grid: Grid, changed: CellState | None = None) -> None:
        remaining = self._remaining.text(grid)
        if changed is None or changed.state == "running":
            return
        ended = sum(state.state not in ("missing", "running") for state in grid.selected)
        progress, time_taken = f"{ended}/{len(grid.selected)}", f"in {changed.seconds:.1f} s"
        messages = "; ".join(changed.messages)
        parts = (progress, changed.cell.name, changed.state, time_taken, remaining, messages)
        self.console.print(Text("  ".join(filter(None, parts))), soft_wrap=True)


@define(eq=False)
class ProgressTable:
    """Live table of running and failed cells, with counts and the remaining time.

    Args:
        console: console of a terminal.
    """

    console: Console
    _remaining: RemainingTime = field(init=False, factory=RemainingTime)
    _started: dict[str, float] = field(init=False, factory=dict)  # start times of the running cells
    _live: Live = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._live = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, grid: Grid, changed: CellState | None = None) -> None:
        if changed is not None and changed.state == "running":
            self._started[changed.cell.run] = time.monotonic()
        self._live.update(self._table(grid), refresh=True)

    def _table(self, grid: Grid) -> Group:
        title = "  ".join(filter(None, (grid.suite.name, format_counts(grid.counts()), self._remaining.text(grid))))
        table = Table.grid(padding=(0, 2))
        for name in ("running", "failed", "timed out"):
            states = [state for state in grid.states if state.state == name]
            for state in states[-MAX_ROWS:]:
                table.add_row(Text(name, STYLES[name]), Text(state.cell.name), Text(self._detail(grid, state)))
            if len(states) > MAX_ROWS:
                table.add_row("", f"and {len(states) - MAX_ROWS} more", "")
        return Group(Text(title, "bold"), table)

    def _detail(self, grid: Grid, state: CellState) -> str:
        if state.state != "running":
            return "; ".join(state.messages[-2:])
        elapsed = format_duration(time.monotonic() - self._started.get(state.cell.run, time.monotonic()))
        status = read_json(grid.folder / state.cell.run / "status.json")
        if not status.get("of") or "experience" not in status:
            return elapsed
        return f"{elapsed}  experience {min(status['experience'] + 1, status['of'])}/{status['of']}"


def final_table(grid: Grid) -> Table:
    """Return a table with a row per config: the states of its seeds, and the mean of its main or first metric."""
    table = Table(box=None, pad_edge=False)
    for name in grid.suite.axes or {"cell": ()}:
        table.add_column(name.rpartition(".")[2])
    table.add_column("seeds")
    table.add_column("result (mean)", justify="right")
    for key in dict.fromkeys(state.cell.experiment.hash for state in grid.states):
        states = [state for state in grid.states if state.cell.experiment.hash == key]
        labels = states[0].cell.labels.values() or [states[0].cell.learner]
        counts = {name: sum(state.state == name for state in states) for name in {s.state for s in states}}
        seeds = Text(", ").join(Text(f"{n} {name}", STYLES.get(name, "dim")) for name, n in sorted(counts.items()))
        table.add_row(*map(Text, labels), seeds, _mean_result(grid, states))
    return table


def _mean_result(grid: Grid, states: list[CellState]) -> str:
    """Return the name and the mean of the main or first metric over finished cells; empty if there is none."""
    finished = [state for state in states if state.state == "finished"]
    summaries = [read_json(grid.folder / state.cell.run / "summary.json") for state in finished]
    metrics_of_seeds = [summary.get("metrics", {}) for summary in summaries]
    main = next((name for summary in summaries if (name := main_metric(meanings_in(summary)))), None)
    name = main or next((name for metrics in metrics_of_seeds for name in metrics), None)
    values = [metrics[name] for metrics in metrics_of_seeds if name in metrics]
    return f"{name} {sum(values) / len(values):.3f}" if values else ""
