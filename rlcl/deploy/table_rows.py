"""Reader of table files for prediction: text files and Parquet as inputs of a bundle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlcl.data.cells import cell_text, detect_notation, parse_number
from rlcl.data.readers.parquet import is_parquet, read_parquet
from rlcl.data.readers.text_tables import text_lines
from rlcl.deploy.signature import Field
from rlcl.errors import DataError, did_you_mean
from rlcl.types import MISSING, TableColumn, TableFormat

__all__ = ["read_rows"]

Array = np.ndarray[Any, Any]
Lines = Sequence[tuple[int, Sequence[Any]]]  # line numbers and cells
MAX_NAMED_CATEGORIES = 12  # in a message


def read_rows(file: Path, field: Field) -> tuple[list[int], Array]:
    """Read the rows of a table file.

    The file has the format of the training data (delimiter, cells that stand for a missing value). If the first line
    names the field's columns, cells are selected by these names and other columns are ignored. Otherwise cells are in
    the order of the array, and a first line of other names is skipped. A category is converted to its index. If values
    may be missing, missing cells and unknown categories become NaN.

    Args:
        file: a text file or a Parquet file.
        field: the only input of the model.

    Returns:
        The line number of each row, and the rows, (N, *shape) float64.

    Raises:
        DataError: a cell is neither a number nor a category of its column, or a column or cell is missing; the message
            names the line and the column.
    """
    reading = field.reading or TableFormat()
    lines, has_header = _lines(file, reading)
    width = math.prod(field.shape)
    header = [str(cell) for cell in lines[0][1]] if lines else []
    named = bool(field.columns and lines) and _has_names(header, {column.name for column in field.columns}, reading)
    columns = field.columns or tuple(TableColumn(str(number)) for number in range(1, width + 1))
    positions = _column_positions(file, columns, header) if named else list(range(width))
    other_names = lines and len(header) == width and all(_is_name(cell, reading) for cell in header)
    rows = lines[1:] if named or other_names or has_header else lines
    if not rows:
        raise DataError(f"{file}: no rows; expected {width} values per line, separated by {_separator(reading)}")
    values = np.empty((len(rows), width))
    for row, (line, cells) in enumerate(rows):
        if len(cells) != (len(header) if named else width):
            expected = f"{len(header)} cells" if named else f"{width} numbers for the shape {field.shape}"
            raise DataError(f"{file}:{line}: expected {expected}, got {len(cells)}{_delimiter_hint(cells, reading)}")
        for i, column in enumerate(columns):
            values[row, i] = _value(f"{file}:{line}", column, cells[positions[i]], field.missing, reading)
    return [line for line, _ in rows], values.reshape(len(rows), *field.shape)


def _lines(file: Path, reading: TableFormat) -> tuple[Lines, bool]:
    """Return the lines of a file, and whether the first one is certainly a header."""
    if not is_parquet(file):
        return text_lines(file, reading.delimiter), False
    columns, _ = read_parquet(file)
    return [(0, list(columns)), *enumerate(zip(*columns.values(), strict=True), 1)], True


def _separator(reading: TableFormat) -> str:
    return "commas" if reading.delimiter == "," else repr(reading.delimiter)


def _delimiter_hint(cells: Sequence[Any], reading: TableFormat) -> str:
    """Return a hint for a line that appears to have another delimiter; empty otherwise."""
    text = str(cells[0]) if len(cells) == 1 else ""
    delimiter = next((sign for sign in ";\t|," if sign in text), None)
    return f"; separate cells by {_separator(reading)}, as in the training data" if delimiter else ""


def _has_names(cells: Sequence[str], names: set[str], reading: TableFormat) -> bool:
    """Return True if a first line contains all column names, or some of them and no values; a name may be a number."""
    header = set(cells)
    return names <= header or (bool(names & header) and all(_is_name(cell, reading) for cell in cells))


def _column_positions(file: Path, columns: Sequence[TableColumn], names: Sequence[str]) -> list[int]:
    """Return the position of each column in a line."""
    for column in columns:
        if column.name not in names:
            raise DataError(f"{file}: no column {column.name!r}{did_you_mean(column.name, names)}")
        if names.count(column.name) > 1:
            raise DataError(f"{file}: the column {column.name!r} occurs more than once; rename one")
    return [names.index(column.name) for column in columns]


def _value(where: str, column: TableColumn, cell: Any, missing: bool, reading: TableFormat) -> float:
    """Convert a cell as in training; a cell of a Parquet file is a number, a text or None."""
    text = "" if cell is None else cell if isinstance(cell, str) else cell_text(cell)
    if column.categorical:
        if text in column.categories:
            return float(column.categories.index(text))
        if not missing:
            raise DataError(
                f"{where}: column {column.name}: expected {_category_list(column.categories)}, got {text!r}"
            )
        return math.nan  # an unknown category counts as missing
    if missing and (cell is None or text in reading.missing or text.lower() == "nan"):
        return math.nan
    value = parse_number(text) if isinstance(cell, str) else cell
    if value is None:
        notation = detect_notation([text])
        remedy = "" if notation is None else f"; the cell appears to contain {notation[0]}: {notation[1]}"
        raise DataError(f"{where}: column {column.name}: expected a number, got {text!r}{remedy}")
    return float(value)


def _category_list(names: Sequence[str]) -> str:
    return " or ".join(names) if len(names) <= MAX_NAMED_CATEGORIES else f"one of {len(names)} categories"


def _is_name(cell: str, reading: TableFormat) -> bool:
    return cell not in MISSING and cell not in reading.missing and parse_number(cell) is None
