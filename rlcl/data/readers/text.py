"""Tables in text files: lines cut into cells, and what is wrong with a header or a column of classes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlcl.data.cells import natural
from rlcl.errors import DataError, did_you_mean

__all__ = ["check_header", "check_labels", "classes", "read_csv", "text_lines"]


def read_csv(place: Path, delimiter: str) -> tuple[list[str], list[int], list[list[str]]]:
    """The header of a table, and the number of each line that is not empty with its cells, without blanks around them.

    Raises:
        DataError: it cannot be read, or a line has more or fewer cells than the header.
    """
    numbered = text_lines(place, delimiter)
    header = numbered[0][1] if numbered else []
    for line, row in numbered[1:]:
        if len(row) != len(header):
            raise DataError(f"data {place}:{line}: expected {len(header)} cells, got {len(row)}")
    return header, [line for line, _ in numbered[1:]], [row for _, row in numbered[1:]]


def text_lines(place: Path, delimiter: str) -> list[tuple[int, list[str]]]:
    """The number of each line that is not empty, with its cells without blanks around them.

    Raises:
        DataError: it cannot be read as text.
    """
    try:
        with place.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter)
            numbered = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"data {place} is no table that can be read as UTF-8: {error}; save it as text in UTF-8"
        ) from error
    wide = bool(numbered) and len(numbered[0][1]) > 1
    return [(line, row) for line, row in numbered if not wide or row != [""]]  # a line of blanks is empty, too


def check_header(place: Path, header: Sequence[str], wanted: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Raises DataError for a table without rows, with a column twice, or without one that is wanted."""
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"data {place}: the column {twice[0]!r} is there more than once; rename one")
    for name in wanted:
        if name not in header:
            near = did_you_mean(name, header)
            found = near if "did you mean" in near else f"; the header has {', '.join(header)}"
            raise DataError(f"data {place}: no column {name!r}{found}{_delimiter(header)}")
    if not rows:
        raise DataError(f"data {place}: expected at least one row, got none")


def _delimiter(header: Sequence[str]) -> str:
    """What to do where a header was not cut into cells."""
    found = next((sign for sign in ";\t|," if sign in header[0]), None) if len(header) == 1 else None
    return "" if found is None else f"; its only cell holds {found!r}: set delimiter to it"


def check_labels(place: Path, lines: Sequence[int], labels: Sequence[Any], target: str) -> None:
    """Raises DataError for the first row whose class or number to predict is missing (None or NaN)."""
    for line, value in zip(lines, labels, strict=True):
        if value is None or value != value:  # noqa: PLR0124 (NaN)
            raise DataError(
                f"data {place}:{line}: column {target}: the value to predict is missing; fill it in, or remove the row"
            )


def classes(texts: Sequence[str]) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    """(N,) int64 classes of as many texts, and the names of the classes, in their natural order."""
    names = tuple(sorted(set(texts), key=natural))
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers[text] for text in texts], np.int64), names
