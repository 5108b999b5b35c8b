"""What a page is made of: sections of figures, figures of drawings and tables, and the data to download."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import numpy as np
from attrs import frozen
from markupsafe import Markup

from rlcl.comparison.bands import Band
from rlcl.report.tables import format_number
from rlcl.strict_json import json_text

__all__ = ["Cell", "Data", "Figure", "Panel", "Section", "Table", "band_rows", "heat", "interval_text", "number"]

Value = str | float | int | None
ROWS = 40  # of a figure's data that the page shows as a table

# The colours of a full cell and of the page beneath it, as in the style sheet: light and dark.
FULL = ((11, 79, 138), (109, 184, 242))
PAGE = ((255, 255, 255), (27, 30, 36))


@frozen
class Data:
    """What a figure shows, to download.

    Args:
        name: of the file, without its ending.
        columns: their names.
        rows: their values; None for an absent one.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    @property
    def csv(self) -> str:
        """A ``data:`` address of the rows as CSV."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([["" if v is None else v for v in row] for row in self.rows])
        return "data:text/csv;charset=utf-8," + _address(text.getvalue())

    @property
    def json(self) -> str:
        """A ``data:`` address of the same as JSON: columns and rows."""
        content = {"columns": self.columns, "rows": self.rows}
        return "data:application/json;charset=utf-8," + _address(json_text(content, separators=(",", ":")))

    @property
    def shown(self) -> tuple[tuple[Value, ...], ...]:
        """Rows spread evenly over all of them, as many as a person may want to read."""
        if len(self.rows) <= ROWS:
            return self.rows
        return tuple(self.rows[int(i)] for i in np.linspace(0, len(self.rows) - 1, ROWS))


@frozen
class Cell:
    """One cell of a table.

    Args:
        text: what it says.
        plot: a drawing beside the text, or instead of it.
        kind: classes of the style sheet.
        style: of the cell alone.
        told: the tooltip.
        heading: whether it names its row.
    """

    text: str = ""
    plot: Markup | None = None
    kind: str = ""
    style: str = ""
    told: str = ""
    heading: bool = False


@frozen
class Table:
    """A table that is seen at once.

    Args:
        columns: headings; a text that begins with ``#`` is aligned with numbers.
        rows: of cells, as many as columns.
        kind: classes of the style sheet.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    kind: str = ""


@frozen
class Panel:
    """One drawing of a figure.

    Args:
        title: above it.
        drawing: SVG.
    """

    title: str
    drawing: Markup


@frozen
class Figure:
    """One figure of a page: drawings or a table, and its data.

    Args:
        title: its heading.
        note: what it shows and how it was computed.
        data: to download.
        panels: drawings.
        table: seen at once; without it the data are a table that can be opened.
        wide: whether its panels take the whole width.
    """

    title: str
    note: str
    data: Data
    panels: tuple[Panel, ...] = ()
    table: Table | None = None
    wide: bool = False


@frozen
class Section:
    """A part of the page with a heading of its own.

    Args:
        key: of the address within the page.
        title: the heading, as in the table of contents.
        figures: in their order.
        note: below the heading.
        grid: whether figures stand side by side where there is room.
    """

    key: str
    title: str
    figures: tuple[Figure, ...]
    note: str = ""
    grid: bool = False


def heat(text: str, share: float, told: str = "", kind: str = "") -> Cell:
    """A cell that is the fuller the greater its share in [0, 1] is, with letters that can be read on it."""
    share = min(max(share, 0.0), 1.0)
    ink = [
        ("white" if _luminance(full, page, share) < 0.18 else "black") for full, page in zip(FULL, PAGE, strict=True)
    ]
    return Cell(text, None, f"heat light-{ink[0]} dark-{ink[1]} {kind}".strip(), f"--heat:{share:.2f}", told)


def number(value: float | None) -> str:
    """For a table; nothing for an absent one."""
    return "" if value is None or not math.isfinite(value) else format_number(value)


def interval_text(low: float, high: float) -> str:
    """``0.91 to 0.94``; nothing with a single seed."""
    return "" if not (math.isfinite(low) and math.isfinite(high)) else f"{number(low)} to {number(high)}"


def band_rows(label: str, band: Band) -> Iterable[tuple[Value, ...]]:
    """Rows (label, step, mean, low, high) of a band."""
    columns = (band.steps, band.mean, band.low, band.high)
    for values in zip(*columns, strict=True):
        yield (label, *(_short(float(v)) for v in values))


def _short(value: float) -> float | int | None:
    """Six digits are more than a figure shows, and they keep the page small."""
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 1e15 else float(f"{value:.6g}")


def _address(text: str) -> str:
    return quote(text, safe=",.:;-_+*()[]{}/=")


def _luminance(full: tuple[int, ...], page: tuple[int, ...], share: float) -> float:
    """Relative luminance of a full colour over the page, as WCAG 2.2 defines it."""

    def linear(channel: float) -> float:
        c = channel / 255
        return c / 12.92 if c <= 0.04045 else float(((c + 0.055) / 1.055) ** 2.4)

    mixed = [b + share * (a - b) for a, b in zip(full, page, strict=True)]
    return sum(w * linear(c) for w, c in zip((0.2126, 0.7152, 0.0722), mixed, strict=True))


def as_value(value: Any) -> Value:
    """A setting as a cell of data."""
    return value if isinstance(value, str | int | float) or value is None else str(value)
