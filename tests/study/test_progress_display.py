"""What a grid shows while it is worked on."""

from __future__ import annotations

import os
from pathlib import Path

from grids import odd
from rich.console import Console

from rlcl.study.grid import Grid
from rlcl.study.progress_display import ProgressLines, ProgressTable


def grid_of_two(folder: Path) -> Grid:
    grid = Grid(odd(folder, "learn", "raise"), folder)
    grid.states[0].state, grid.states[0].seconds = "finished", 2.0
    grid.states[1].state, grid.states[1].messages = "failed", ("rlcl: [odd] broke", "exit status 1")
    return grid


def test_lines_tell_each_end_and_why(tmp_path: Path) -> None:
    console = Console(record=True, width=40, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
    board = ProgressLines(console)
    grid = grid_of_two(tmp_path)
    for state in grid.states:
        board.show(grid, state)
    console.file.close()
    assert [
        "2/2  learn/seed0  finished  in 2.0 s",
        "2/2  raise/seed0  failed  in 0.0 s  rlcl: [odd] broke; exit status 1",
    ] == console.export_text().splitlines()


def test_a_terminal_shows_what_runs_and_what_failed(tmp_path: Path) -> None:
    grid = grid_of_two(tmp_path)
    grid.states[0].state = "running"
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=80, force_terminal=True, file=nowhere)
        with ProgressTable(console) as board:
            board.show(grid, grid.states[0])
            console.print(board._table(grid))
    printed = console.export_text()
    assert "odd  1 running, 1 failed" in printed
    assert "running  learn/seed0  1 s" in printed
    assert "failed   raise/seed0  rlcl: [odd] broke; exit status 1" in printed
