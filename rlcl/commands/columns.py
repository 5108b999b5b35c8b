"""Plain columns: a thousand rows in a few milliseconds, for which rich's tables take a second."""

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
    """Prints rows under headings, cut at the terminal's edge where there is one.

    Args:
        headings: of the columns.
        rows: as many cells each.
        right: columns that are aligned with their ends.
        red: rows in which something is wrong.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for place, row in enumerate([headings, *rows]):
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        line = (" " * GAP).join(cells).rstrip()[:width]
        typer.echo(typer.style(line, bold=place == 0, fg="red" if place - 1 in red else None))
