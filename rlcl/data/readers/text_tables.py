"""Tables in text files: reading of rows, checks of the header and of the labels, encoding of classes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlcl.data.cells import natural_key
from rlcl.errors import DataError, did_you_mean

__all__ = ["check_header", "check_labels", "encode_classes", "read_csv", "text_lines"]


def read_csv(path: Path, delimiter: str) -> tuple[list[str], list[int], list[list[str]]]:
    """Read a table from a text file.

    Args:
        path: path of the file.
        delimiter: character between two cells.

    Returns:
        The header, the line numbers of the rows, and the cells of the rows, without surrounding whitespace. Empty
        lines are skipped.

    Raises:
        DataError: the file cannot be read, or the number of cells in a line differs from the header's.
    """
    numbered = text_lines(path, delimiter)
    header = numbered[0][1] if numbered else []
    for line, row in numbered[1:]:
        if len(row) != len(header):
            raise DataError(f"data {path}:{line}: expected {len(header)} cells, as in the header, got {len(row)}")
    return header, [line for line, _ in numbered[1:]], [row for _, row in numbered[1:]]


def text_lines(path: Path, delimiter: str) -> list[tuple[int, list[str]]]:
    """Read the line numbers and cells of the lines of a text file, without empty lines and surrounding whitespace.

    Raises:
        DataError: the file cannot be read as text.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter)
            numbered = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"data {path} cannot be read as a table in UTF-8: {error}; save it as UTF-8 text") from error
    wide = bool(numbered) and len(numbered[0][1]) > 1
    return [(line, row) for line, row in numbered if not wide or row != [""]]  # a line of whitespace is also empty


def check_header(path: Path, header: Sequence[str], required: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Check the header of a table.

    Args:
        path: path of the file, for messages.
        header: names of the columns.
        required: names of columns that must exist.
        rows: rows of the table.

    Raises:
        DataError: a name occurs twice, a required column is missing, or there are no rows.
    """
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(f"data {path}: the column {repeated[0]!r} occurs more than once; rename one")
    for name in required:
        if name not in header:
            suggestion = did_you_mean(name, header)
            hint = suggestion if "did you mean" in suggestion else f"; the header has {', '.join(header)}"
            raise DataError(f"data {path}: no column {name!r}{hint}{_delimiter_hint(header)}")
    if not rows:
        raise DataError(f"data {path}: expected at least one row, got none")


def _delimiter_hint(header: Sequence[str]) -> str:
    """Return a remedy for a header that was not split into cells."""
    delimiter = next((sign for sign in ";\t|," if sign in header[0]), None) if len(header) == 1 else None
    return "" if delimiter is None else f"; its only cell holds {delimiter!r}: set delimiter to it"


def check_labels(path: Path, lines: Sequence[int], labels: Sequence[Any], target: str) -> None:
    """Check that no label is missing (None or NaN).

    Raises:
        DataError: a label is missing; the message names the line.
    """
    for line, value in zip(lines, labels, strict=True):
        if value is None or value != value:  # noqa: PLR0124 (NaN)
            raise DataError(
                f"data {path}:{line}: column {target}: the value to predict is missing; fill it in, or remove the row"
            )


def encode_classes(texts: Sequence[str]) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    """Return the class indices (N,) int64 of N texts, and the names of the classes, in natural order."""
    names = tuple(sorted(set(texts), key=natural_key))
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers[text] for text in texts], np.int64), names
