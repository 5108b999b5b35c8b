"""Plain text columns, which print a thousand rows in milliseconds; a table of rich takes a second."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Sequence

import typer

__all__ = ["print_columns"]

GAP = 2  # spaces between columns


def print_columns(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int], red: Collection[int]
) -> None:
    """Print rows under headings; lines are cut at the width of the terminal, if the output is one.

    Args:
        headings: headings of the columns.
        rows: cells of each row, one per heading.
        right: indices of the columns that are aligned to the right.
        red: indices of the rows that are printed in red.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for index, row in enumerate([headings, *rows]):
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        line = (" " * GAP).join(cells).rstrip()[:width]
        typer.echo(typer.style(line, bold=index == 0, fg="red" if index - 1 in red else None))
