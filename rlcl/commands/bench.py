"""``rlcl bench``: runs a suite, or goes on with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from rlcl.study.grid import Grid
    from rlcl.study.suite import Cell, Suite
    from rlcl.types import Capacity

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("bench")(bench)


def bench(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="SUITE [KEY=VALUE...]", help="A suite file (or a shipped one's name), then changes."),
    ] = None,
    budget: Annotated[str | None, typer.Option(help="One of the suite's budgets; full by default.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Only cells whose name matches.")] = None,
    launcher: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where the cells run: see rlcl list launcher.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cells at once; as many as there is room for by default, and never more.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=1, metavar="SECONDS", help="What a cell may take.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the cells.")] = False,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
) -> None:
    """Run every cell of a suite in a process of its own; without a suite, list those that come with rlcl.

    rlcl bench split-digits --budget smoke
    rlcl bench mine.yaml seeds=3 base.budget.epochs=2 --only 'ewc*'

    Running the same suite again runs only what is missing or failed. Ctrl-C saves a checkpoint of each
    cell that runs, and the next call goes on. The exit status is 1 if a cell failed.
    """
    from rlcl.commands.console import console as make_console
    from rlcl.commands.run import split_arguments
    from rlcl.study.grid import Grid
    from rlcl.study.suite import load_suite

    console = make_console(quiet)
    if not arguments:
        _list_suites(console)
        return
    files, overrides = split_arguments(arguments)
    if len(files) > 1:
        raise typer.BadParameter(f"expected one suite, got {', '.join(files)}")
    if launcher is not None:
        overrides.append(f"launcher.type={launcher}")
    suite = load_suite(files[0], overrides, budget)
    chosen = _chosen(suite, only or ())
    if dry_run:
        _list_cells(Grid(suite, root, chosen), console)
        return
    grid = _run(suite, chosen, root, timeout, workers, console)
    if any(state.state in ("failed", "timed out") for state in grid.asked):
        raise typer.Exit(1)


def _run(
    suite: Suite, chosen: Sequence[Cell], root: Path, timeout: float | None, workers: int | None, console: Console
) -> Grid:
    from contextlib import closing

    from rlcl.config import build
    from rlcl.study.bench import capacity_for, run_suite
    from rlcl.study.board import board_for, counted, final_table

    with closing(build(suite.launcher, ("launcher",))) as launcher:
        _say_capacity(capacity_for(launcher, chosen), workers, console)
        with board_for(console) as board:
            grid = run_suite(suite, launcher, board, root, chosen, timeout, workers)
    console.print(final_table(grid), highlight=False)
    for state in grid.asked:
        if state.state in ("failed", "timed out"):
            told = "\n  ".join([*state.told, f"log: {grid.log(state.cell)}"])
            console.print(f"[red]{state.state}[/]  {state.cell.name}\n  ", end="", highlight=False)
            console.print(told, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{counted(grid.counts())}; runs in {grid.folder}", highlight=False, soft_wrap=True)
    return grid


def _say_capacity(room: Capacity, workers: int | None, console: Console) -> None:
    slots = room.slots if workers is None else min(workers, room.slots)
    more = f"; no room for {workers}" if workers is not None and workers > room.slots else ""
    console.print(f"{slots} cell{'s' * (slots > 1)} at once, {room.text}{more}", highlight=False)


def _chosen(suite: Suite, patterns: Sequence[str]) -> tuple[Cell, ...]:
    """The cells that any pattern matches; all without one.

    Raises:
        ConfigError: a pattern matches none.
    """
    from fnmatch import fnmatchcase

    from rlcl.errors import ConfigError, did_you_mean

    def matches(cell: Cell, pattern: str) -> bool:
        return any(fnmatchcase(name, pattern) for name in (cell.name, cell.learner, *cell.labels.values()))

    names = {cell.learner for cell in suite.cells}
    problems = [
        f"--only {pattern}: no cell of that name{did_you_mean(pattern, names)}"
        for pattern in patterns
        if not any(matches(cell, pattern) for cell in suite.cells)
    ]
    if problems:
        raise ConfigError(problems)
    return tuple(c for c in suite.cells if not patterns or any(matches(c, pattern) for pattern in patterns))


def _list_cells(grid: Grid, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("cell", "state", "run"):
        table.add_column(column, no_wrap=True)
    for state in grid.asked:
        table.add_row(Text(state.cell.name), state.state, str(grid.folder / state.cell.run))
    console.print(table, highlight=False)
    console.print(f"{len(grid.asked)} cell{'s' * (len(grid.asked) > 1)}", highlight=False)


def _list_suites(console: Console) -> None:
    from rich.table import Table

    from rlcl.study.suite import load_suite, suites_folder

    table = Table(box=None, pad_edge=False)
    for column in ("suite", "cells", "what for"):
        table.add_column(column, justify="right" if column == "cells" else "left")
    for path in sorted(suites_folder().glob("*.yaml")):
        suite = load_suite(path)
        table.add_row(path.stem, str(len(suite.cells)), suite.statement)
    console.print(table, highlight=False)
