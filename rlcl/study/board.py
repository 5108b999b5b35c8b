"""Shows a grid while it is worked on: a live table on a terminal, a line a cell elsewhere."""

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

from rlcl.evaluation.meaning import decisive, meanings_in
from rlcl.study.grid import CellState, Grid
from rlcl.tracking.json_files import read_json

__all__ = ["Lines", "LiveTable", "board_for", "final_table"]

STYLES = {
    "finished": "green",
    "failed": "red",
    "timed out": "red",
    "interrupted": "yellow",
    "crashed": "red",
    "running": "cyan",
}
LEFT = ("missing", "running", "interrupted", "crashed")
SHOWN = 8  # cells of a state in the live table; a terminal has few lines


def board_for(console: Console) -> Lines | LiveTable:
    """The table where there is a terminal, else the lines; both are context managers."""
    return LiveTable(console) if console.is_terminal else Lines(console)


@define(eq=False)
class Left:
    """How long a grid may take yet, from how long it took so far."""

    _started: float | None = field(init=False, default=None)
    _before: int = field(init=False, default=0)

    def told(self, grid: Grid) -> str:
        """``about 3 min left``; nothing before the first cell has ended."""
        ended = sum(state.state not in LEFT for state in grid.asked)
        left = len(grid.asked) - ended
        if self._started is None:
            self._started, self._before = time.monotonic(), ended
        done = ended - self._before
        if done <= 0 or not left:
            return ""
        return f"about {duration((time.monotonic() - self._started) / done * left)} left"


def duration(seconds: float) -> str:
    """``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def counted(counts: Mapping[str, int]) -> str:
    """``3 finished, 2 running, 7 missing``."""
    names = ("finished", "running", "failed", "timed out", "interrupted", "crashed", "missing")
    return ", ".join(f"{counts[name]} {name}" for name in names if counts[name])


@define(eq=False)
class Lines:
    """A line for each cell that ends.

    Args:
        console: where to.
    """

    console: Console
    _left: Left = field(init=False, factory=Left)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, grid: Grid, changed: CellState | None = None) -> None:
        left = self._left.told(grid)
        if changed is None or changed.state == "running":
            return
        ended = sum(state.state not in ("missing", "running") for state in grid.asked)
        took = f"in {changed.seconds:.1f} s"
        parts = (f"{ended}/{len(grid.asked)}", changed.cell.name, changed.state, took, left, "; ".join(changed.told))
        self.console.print(Text("  ".join(filter(None, parts))), soft_wrap=True)


@define(eq=False)
class LiveTable:
    """What is done, what runs, what failed, and the time left; redrawn in place.

    Args:
        console: a terminal.
    """

    console: Console
    _left: Left = field(init=False, factory=Left)
    _since: dict[str, float] = field(init=False, factory=dict)
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
            self._since[changed.cell.run] = time.monotonic()
        self._live.update(self._table(grid), refresh=True)

    def _table(self, grid: Grid) -> Group:
        head = "  ".join(filter(None, (grid.suite.name, counted(grid.counts()), self._left.told(grid))))
        table = Table.grid(padding=(0, 2))
        for wanted in ("running", "failed", "timed out"):
            shown = [state for state in grid.states if state.state == wanted]
            for state in shown[-SHOWN:]:
                table.add_row(Text(wanted, STYLES[wanted]), Text(state.cell.name), Text(self._detail(grid, state)))
            if len(shown) > SHOWN:
                table.add_row("", f"and {len(shown) - SHOWN} more", "")
        return Group(Text(head, "bold"), table)

    def _detail(self, grid: Grid, state: CellState) -> str:
        if state.state != "running":
            return "; ".join(state.told[-2:])
        seconds = duration(time.monotonic() - self._since.get(state.cell.run, time.monotonic()))
        status = read_json(grid.folder / state.cell.run / "status.json")
        if not status.get("of") or "experience" not in status:
            return seconds
        return f"{seconds}  experience {min(status['experience'] + 1, status['of'])}/{status['of']}"


def final_table(grid: Grid) -> Table:
    """A line for each config: the states of its seeds, and the mean of its decisive metric."""
    table = Table(box=None, pad_edge=False)
    for name in grid.suite.axes or {"cell": ()}:
        table.add_column(name.rpartition(".")[2])
    table.add_column("seeds")
    table.add_column("result (mean)", justify="right")
    for key in dict.fromkeys(state.cell.experiment.hash for state in grid.states):
        states = [state for state in grid.states if state.cell.experiment.hash == key]
        labels = states[0].cell.labels.values() or [states[0].cell.learner]
        counts = {name: sum(state.state == name for state in states) for name in {s.state for s in states}}
        seeds = ", ".join(f"[{STYLES.get(name, 'dim')}]{count} {name}[/]" for name, count in sorted(counts.items()))
        table.add_row(*map(Text, labels), seeds, _result(grid, states))
    return table


def _result(grid: Grid, states: list[CellState]) -> str:
    finished = [state for state in states if state.state == "finished"]
    summaries = [read_json(grid.folder / state.cell.run / "summary.json") for state in finished]
    found = [summary.get("metrics", {}) for summary in summaries]
    name = next((name for summary in summaries if (name := decisive(meanings_in(summary)))), None)
    values = [metrics[name] for metrics in found if name in metrics]
    return f"{name} {sum(values) / len(values):.3f}" if values else ""
