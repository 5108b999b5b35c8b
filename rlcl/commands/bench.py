"""Verb ``rlcl bench``, which runs or resumes a suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from rlcl.study.grid import Grid
    from rlcl.study.suite import Suite, SuiteCell
    from rlcl.types import Capacity

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("bench")(bench)


def bench(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUITE [KEY=VALUE...]", help="A suite file (or the name of a shipped suite), then overrides."
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Name of a budget that the suite defines. The default is the budget 'full'.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Run only the cells whose name matches.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="K/N", help="Run only the k-th of n parts of the cells, for example 2/8.")
    ] = None,
    launcher: Annotated[
        str | None, typer.Option(metavar="NAME", help="Launcher that runs the cells; see rlcl list launcher.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Maximum number of cells that run at the same time. The default, and the upper limit, is the number "
            "that the launcher supports.",
        ),
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=1, metavar="SECONDS", help="Time limit of a cell.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the cells, and print the script for a queue.")
    ] = False,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
) -> None:
    """Run a benchmark suite; without a suite, list the shipped suites.

    A suite is a grid of experiments. Each combination of settings and seed (a "cell") runs in a separate process.

        rlcl bench split-digits --budget smoke
        rlcl bench mine.yaml seeds=3 base.budget.epochs=2 --only 'ewc*'

    If the command is repeated, it runs only cells that are missing or have failed. Ctrl-C saves a checkpoint of
    each running cell, and the next call resumes it. The exit status is 1 if a cell failed.

    Several calls can run one suite at the same time, in several terminals or on machines that share the folder: each
    cell runs in one of them. For machines that share no folder, use --shard, and join the results with 'rlcl runs
    merge'.
    """
    from rlcl.commands.list import list_suites
    from rlcl.commands.run import split_arguments
    from rlcl.console import make_console
    from rlcl.study.grid import Grid
    from rlcl.study.suite import load_suite

    console = make_console(quiet)
    if not arguments:
        list_suites(console)
        return
    files, overrides = split_arguments(arguments)
    if len(files) > 1:
        raise typer.BadParameter(f"expected one suite, got {', '.join(files)}")
    if launcher is not None:
        overrides.append(f"launcher.type={launcher}")
    suite = load_suite(files[0], overrides, budget)
    selected = _shard(_matching_cells(suite, only or ()), shard)
    if dry_run:
        _list_cells(Grid(suite, root, selected), console)
        return
    if not selected:
        console.print(f"--shard {shard}: this part is empty, since the suite has {len(suite.cells)} cells")
        return
    grid = _run(suite, selected, root, timeout, workers, console)
    if any(state.state in ("failed", "timed out") for state in grid.selected):
        raise typer.Exit(1)


def _run(
    suite: Suite, cells: Sequence[SuiteCell], root: Path, timeout: float | None, workers: int | None, console: Console
) -> Grid:
    from contextlib import closing

    from rich.text import Text

    from rlcl.config import build
    from rlcl.study.progress_display import final_table, format_counts, progress_display
    from rlcl.study.suite_runner import launcher_capacity, run_suite

    with closing(build(suite.launcher, ("launcher",))) as launcher:
        _print_capacity(launcher_capacity(launcher, cells), workers, console)
        with progress_display(console) as board:
            grid = run_suite(suite, launcher, board, root, cells, timeout, workers)
    console.print(final_table(grid))
    for state in grid.selected:
        if state.state in ("failed", "timed out"):
            message = "\n  ".join([*state.messages, f"log: {grid.log(state.cell)}"])
            console.print(Text.assemble((state.state, "red"), f"  {state.cell.name}\n  "), end="")
            console.print(message, soft_wrap=True)
    console.print(f"{format_counts(grid.counts())}; runs in {grid.folder}", soft_wrap=True)
    return grid


def _print_capacity(capacity: Capacity, workers: int | None, console: Console) -> None:
    slots = capacity.slots if workers is None else min(workers, capacity.slots)
    limit = f"; no capacity for {workers}" if workers is not None and workers > capacity.slots else ""
    console.print(f"{slots} cell{'s' * (slots > 1)} at once, {capacity.text}{limit}")


def _matching_cells(suite: Suite, patterns: Sequence[str]) -> tuple[SuiteCell, ...]:
    """Return the cells that match any of the patterns; all cells if there is no pattern.

    Raises:
        ConfigError: a pattern matches no cell.
    """
    from fnmatch import fnmatchcase

    from rlcl.errors import ConfigError, did_you_mean

    def matches(cell: SuiteCell, pattern: str) -> bool:
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


def _shard(cells: tuple[SuiteCell, ...], shard: str | None) -> tuple[SuiteCell, ...]:
    """Return every n-th cell, starting with the k-th.

    Args:
        cells: the cells.
        shard: ``k/n`` with 1 <= k <= n; None for all cells.

    Raises:
        ConfigError: the text has another form.
    """
    from rlcl.errors import ConfigError

    if shard is None:
        return cells
    part, _, parts = shard.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ConfigError([f"--shard: expected K/N with 1 <= K <= N, such as 2/8, got {shard!r}"])
    return cells[int(part) - 1 :: int(parts)]


def _list_cells(grid: Grid, console: Console) -> None:
    from contextlib import closing

    from rich.table import Table
    from rich.text import Text

    from rlcl.config import build
    from rlcl.study.job_queue import cell_job

    table = Table(box=None, pad_edge=False)
    for column in ("cell", "state", "run"):
        table.add_column(column, no_wrap=True)
    for state in grid.selected:
        table.add_row(Text(state.cell.name), state.state, str(grid.folder / state.cell.run))
    console.print(table)
    console.print(f"{len(grid.selected)} cell{'s' * (len(grid.selected) > 1)}")
    jobs = [cell_job(grid, state.cell) for state in grid.selected if state.state != "finished"]
    with closing(build(grid.suite.launcher, ("launcher",))) as launcher:
        console.print(launcher.preview(jobs), soft_wrap=True, end="")
