"""Rows of a table as a bundle's inputs: by the names of its columns where the model learned from a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlcl.data.cells import notation, number, text_of
from rlcl.data.readers.parquet import is_parquet, read_parquet
from rlcl.data.readers.text import text_lines
from rlcl.deploy.signature import Field
from rlcl.errors import DataError, did_you_mean
from rlcl.types import MISSING, Column, Reading

__all__ = ["read_rows"]

Array = np.ndarray[Any, Any]
Lines = Sequence[tuple[int, Sequence[Any]]]  # of a file, each with its number
FEW = 12  # texts that a message names


def read_rows(file: Path, field: Field) -> tuple[list[int], Array]:
    """The line of each of a file's rows, and the rows, (N, *shape) float64.

    The file is read as that of the training data was (delimiter, cells that stand for a missing value). Where the first
    line has names of the field's columns, cells are found by them, and other columns are left alone;
    else they stand in the order of the array, with or without a line of names. A text of a column of texts becomes its
    number. A cell that stands for a missing value, and a text that training did not know, become NaN where values
    may be missing.

    Args:
        file: a text file, or Parquet.
        field: the only input.

    Raises:
        DataError: by line and column what is no number and no text of the column, or is not there.
    """
    reading = field.reading or Reading()
    lines, in_names = _lines(file, reading)
    width = math.prod(field.shape)
    header = [str(cell) for cell in lines[0][1]] if lines else []
    named = bool(field.columns and lines) and _has_names(header, {column.name for column in field.columns}, reading)
    columns = field.columns or tuple(Column(str(place)) for place in range(1, width + 1))
    places = _named(file, columns, header) if named else list(range(width))
    unnamed = lines and len(header) == width and all(_is_name(cell, reading) for cell in header)
    rows = lines[1:] if named or unnamed or in_names else lines
    if not rows:
        raise DataError(f"{file}: no rows; expected {width} values a line, separated by {_separator(reading)}")
    made = np.empty((len(rows), width))
    for row, (line, cells) in enumerate(rows):
        if len(cells) != (len(header) if named else width):
            wanted = f"{len(header)} cells" if named else f"{width} numbers, of the shape {field.shape}"
            raise DataError(f"{file}:{line}: expected {wanted}, got {len(cells)}{_hint(cells, reading)}")
        for place, column in enumerate(columns):
            made[row, place] = _value(f"{file}:{line}", column, cells[places[place]], field.missing, reading)
    return [line for line, _ in rows], made.reshape(len(rows), *field.shape)


def _lines(file: Path, reading: Reading) -> tuple[Lines, bool]:
    """A header and rows, and whether the header is one for sure."""
    if not is_parquet(file):
        return text_lines(file, reading.delimiter), False
    found, _ = read_parquet(file)
    return [(0, list(found)), *enumerate(zip(*found.values(), strict=True), 1)], True


def _separator(reading: Reading) -> str:
    return "commas" if reading.delimiter == "," else repr(reading.delimiter)


def _hint(cells: Sequence[Any], reading: Reading) -> str:
    text = str(cells[0]) if len(cells) == 1 else ""
    found = next((sign for sign in ";\t|," if sign in text), None)
    return f"; cells are separated by {_separator(reading)}, as in the training data" if found else ""


def _has_names(cells: Sequence[str], names: set[str], reading: Reading) -> bool:
    """Whether a first line has all names, or some and nothing else than names: a column may be called 1."""
    found = set(cells)
    return names <= found or (bool(names & found) and all(_is_name(cell, reading) for cell in cells))


def _named(file: Path, columns: Sequence[Column], names: Sequence[str]) -> list[int]:
    """Where in a line each column stands."""
    for column in columns:
        if column.name not in names:
            raise DataError(f"{file}: no column {column.name!r}{did_you_mean(column.name, names)}")
        if names.count(column.name) > 1:
            raise DataError(f"{file}: the column {column.name!r} is there more than once; rename one")
    return [names.index(column.name) for column in columns]


def _value(where: str, column: Column, cell: Any, missing: bool, reading: Reading) -> float:
    """What training made of such a cell: of a Parquet file's a number, a text or None."""
    text = "" if cell is None else cell if isinstance(cell, str) else text_of(cell)
    if column.categorical:
        if text in column.categories:
            return float(column.categories.index(text))
        if not missing:
            raise DataError(f"{where}: column {column.name}: expected {_some(column.categories)}, got {text!r}")
        return math.nan  # as a text that no training row has
    if missing and (cell is None or text in reading.missing or text.lower() == "nan"):
        return math.nan
    value = number(text) if isinstance(cell, str) else cell
    if value is None:
        told = notation([text])
        remedy = "" if told is None else f"; it looks like one of {told[0]}: {told[1]}"
        raise DataError(f"{where}: column {column.name}: expected a number, got {text!r}{remedy}")
    return float(value)


def _some(names: Sequence[str]) -> str:
    return " or ".join(names) if len(names) <= FEW else f"one of {len(names)} texts"


def _is_name(cell: str, reading: Reading) -> bool:
    return cell not in MISSING and cell not in reading.missing and number(cell) is None
