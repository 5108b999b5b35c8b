"""Rows of a CSV file as a bundle's inputs: by the names of its columns where the model learned from a table."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlcl.data.columns import MISSING
from rlcl.deploy.signature import Field
from rlcl.errors import DataError, did_you_mean
from rlcl.types import Column

__all__ = ["read_rows"]

Array = np.ndarray[Any, Any]
FEW = 12  # texts that a message names


def read_rows(file: Path, field: Field) -> tuple[list[int], Array]:
    """The line of each of a file's rows, and the rows, (N, *shape) float64.

    Where the first line has names of the field's columns, cells are found by them, and other columns are left alone;
    else they stand in the order of the array, with or without a line of names. A text of a column of texts becomes its
    number. A cell that stands for a missing value, and a text that training did not know, become NaN where values
    may be missing.

    Args:
        file: separated by commas.
        field: the only input.

    Raises:
        DataError: by line and column what is no number and no text of the column, or is not there.
    """
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = [(number, row) for number, row in enumerate(csv.reader(lines), 1) if row]
    width = math.prod(field.shape)
    named = bool(field.columns and rows) and _has_names(rows[0][1], {column.name for column in field.columns})
    columns = field.columns or tuple(Column(str(place)) for place in range(1, width + 1))
    places = _named(file, columns, rows[0][1]) if named else list(range(width))
    if named or (rows and len(rows[0][1]) == width and all(map(_is_name, rows[0][1]))):
        rows = rows[1:]
    if not rows:
        raise DataError(f"{file}: no rows; expected {width} values a line, separated by commas")
    made = np.empty((len(rows), width))
    for row, (number, cells) in enumerate(rows):
        if len(cells) <= max(places) if named else len(cells) != width:
            wanted = f"{max(places) + 1} cells" if named else f"{width} numbers, of the shape {field.shape}"
            raise DataError(f"{file}:{number}: expected {wanted}, got {len(cells)}")
        for place, column in enumerate(columns):
            made[row, place] = _value(f"{file}:{number}", column, cells[places[place]].strip(), field.missing)
    return [number for number, _ in rows], made.reshape(len(rows), *field.shape)


def _has_names(cells: Sequence[str], names: set[str]) -> bool:
    """Whether a first line has all names, or some and nothing else than names: a column may be called 1."""
    found = {cell.strip() for cell in cells}
    return names <= found or (bool(names & found) and all(map(_is_name, cells)))


def _named(file: Path, columns: Sequence[Column], header: Sequence[str]) -> list[int]:
    """Where in a line each column stands."""
    names = [name.strip() for name in header]
    for column in columns:
        if column.name not in names:
            raise DataError(f"{file}: no column {column.name!r}{did_you_mean(column.name, names)}")
        if names.count(column.name) > 1:
            raise DataError(f"{file}: the column {column.name!r} is there more than once; rename one")
    return [names.index(column.name) for column in columns]


def _value(where: str, column: Column, cell: str, missing: bool) -> float:
    if column.categorical:
        if cell in column.categories:
            return float(column.categories.index(cell))
        if not missing:
            raise DataError(f"{where}: column {column.name}: expected {_some(column.categories)}, got {cell!r}")
        return math.nan  # as a text that no training row has
    if missing and cell in MISSING:
        return math.nan
    number = _number(cell)
    if number is None:
        raise DataError(f"{where}: column {column.name}: expected a number, got {cell!r}")
    return number


def _some(names: Sequence[str]) -> str:
    return " or ".join(names) if len(names) <= FEW else f"one of {len(names)} texts"


def _is_name(cell: str) -> bool:
    return cell.strip() not in MISSING and _number(cell) is None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
