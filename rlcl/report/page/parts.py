"""Parts of a page: sections, figures, tables, and the downloadable data of figures."""

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

__all__ = [
    "CellValue",
    "Figure",
    "FigureData",
    "PageTable",
    "Panel",
    "Section",
    "TableCell",
    "as_value",
    "band_rows",
    "heat_cell",
    "interval_text",
    "number_text",
]

CellValue = str | float | int | None
SHOWN_ROWS = 40  # of a figure's data that the page shows as a table

# The colors of a full heatmap cell and of the page behind it, as in the style sheet: light and dark.
FULL = ((11, 79, 138), (109, 184, 242))
PAGE = ((255, 255, 255), (27, 30, 36))


@frozen
class FigureData:
    """The data of a figure, for download.

    Args:
        name: name of the file, without its suffix.
        columns: names of the columns.
        rows: values of the rows; None for an absent value.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[CellValue, ...], ...]

    @property
    def csv(self) -> str:
        """The data as a ``data:`` URL with CSV."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([["" if v is None else v for v in row] for row in self.rows])
        return "data:text/csv;charset=utf-8," + _url_encoded(text.getvalue())

    @property
    def json(self) -> str:
        """The data as a ``data:`` URL with JSON: columns and rows."""
        content = {"columns": self.columns, "rows": self.rows}
        return "data:application/json;charset=utf-8," + _url_encoded(json_text(content, separators=(",", ":")))

    @property
    def shown(self) -> tuple[tuple[CellValue, ...], ...]:
        """The rows that the page shows: all rows, or an evenly spaced selection of SHOWN_ROWS."""
        if len(self.rows) <= SHOWN_ROWS:
            return self.rows
        return tuple(self.rows[int(i)] for i in np.linspace(0, len(self.rows) - 1, SHOWN_ROWS))


@frozen
class TableCell:
    """A cell of a table.

    Args:
        text: text of the cell.
        plot: drawing before the text.
        kind: CSS classes of the cell.
        style: inline CSS style of the cell.
        tooltip: text that is shown on hover.
        heading: whether the cell is the heading of its row.
    """

    text: str = ""
    plot: Markup | None = None
    kind: str = ""
    style: str = ""
    tooltip: str = ""
    heading: bool = False


@frozen
class PageTable:
    """A table that the page always shows.

    Args:
        columns: headings of the columns; a heading that begins with ``#`` is aligned as a number.
        rows: cells of each row, one per column.
        kind: CSS classes of the table.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    kind: str = ""


@frozen
class Panel:
    """A drawing of a figure.

    Args:
        title: title above the drawing.
        drawing: SVG or image.
    """

    title: str
    drawing: Markup


@frozen
class Figure:
    """A figure of a page: drawings or a table, with the data.

    Args:
        title: heading of the figure.
        note: content and computation of the figure.
        data: data for download.
        panels: drawings.
        table: table that is always shown; without it, the page contains the data as a table that can be opened.
        wide: whether the panels use the whole width.
    """

    title: str
    note: str
    data: FigureData
    panels: tuple[Panel, ...] = ()
    table: PageTable | None = None
    wide: bool = False


@frozen
class Section:
    """A part of the page with a heading.

    Args:
        key: anchor of the section in the URL of the page.
        title: heading, also in the table of contents.
        figures: figures in their order.
        note: text below the heading.
        grid: whether figures are arranged in columns if the page is wide enough.
    """

    key: str
    title: str
    figures: tuple[Figure, ...]
    note: str = ""
    grid: bool = False


def heat_cell(text: str, intensity: float, tooltip: str = "", kind: str = "") -> TableCell:
    """Return a heatmap cell whose color has an intensity in [0, 1], with text in a readable color."""
    intensity = min(max(intensity, 0.0), 1.0)
    ink = [
        ("white" if _luminance(full, page, intensity) < 0.18 else "black")
        for full, page in zip(FULL, PAGE, strict=True)
    ]
    classes = f"heat light-{ink[0]} dark-{ink[1]} {kind}".strip()
    return TableCell(text, None, classes, f"--heat:{intensity:.2f}", tooltip)


def number_text(value: float | None) -> str:
    """Return a number as text for a table; empty for an absent number."""
    return "" if value is None or not math.isfinite(value) else format_number(value)


def interval_text(low: float, high: float) -> str:
    """Return an interval as text, such as ``0.91 to 0.94``; empty with a single seed."""
    return "" if not (math.isfinite(low) and math.isfinite(high)) else f"{number_text(low)} to {number_text(high)}"


def band_rows(label: str, band: Band) -> Iterable[tuple[CellValue, ...]]:
    """Yield the rows (label, step, mean, low, high) of a band."""
    columns = (band.steps, band.mean, band.low, band.high)
    for values in zip(*columns, strict=True):
        yield (label, *(_six_digits(float(v)) for v in values))


def _six_digits(value: float) -> float | int | None:
    """Round to six digits: more are not visible in a figure and make the page large. None if not finite."""
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 1e15 else float(f"{value:.6g}")


def _url_encoded(text: str) -> str:
    return quote(text, safe=",.:;-_+*()[]{}/=")


def _luminance(full: tuple[int, ...], page: tuple[int, ...], intensity: float) -> float:
    """Return the relative luminance of a full color over the page as defined in WCAG 2.2."""

    def linear(channel: float) -> float:
        c = channel / 255
        return c / 12.92 if c <= 0.04045 else float(((c + 0.055) / 1.055) ** 2.4)

    mixed = [b + intensity * (a - b) for a, b in zip(full, page, strict=True)]
    return sum(w * linear(c) for w, c in zip((0.2126, 0.7152, 0.0722), mixed, strict=True))


def as_value(value: Any) -> CellValue:
    """Return a setting as a value of figure data."""
    return value if isinstance(value, str | int | float) or value is None else str(value)
