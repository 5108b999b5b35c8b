"""Warnings about suspicious columns of a file: row numbers, values equal in float32, texts that should be numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlcl.data.cells import DATES, detect_notation, parse_number
from rlcl.data.validation import warn_once
from rlcl.types import TableColumn

__all__ = ["warn_about_classes", "warn_about_index", "warn_about_merging", "warn_about_texts"]

Array = np.ndarray[Any, Any]
MAX_EXACT_INTEGER = 2**24  # float32 represents every integer up to this one
MIN_LEVELS = 2**14  # a column of fractions is checked if float32 has fewer values than this in its range
MIN_ROWS = 10  # distinct texts are suspicious from this number of rows on
DISTINCT_SHARE, UNKNOWN_SHARE = 0.9, 0.5  # shares of rows that are suspicious
INDEX_NAMES = ("", "id", "index", "row", "row.names", "row_id", "rowid", "rownames")


def warn_about_index(path: Path, columns: Sequence[TableColumn], x: Array) -> None:
    """Warn about columns whose name and values suggest row numbers that another program wrote.

    Args:
        path: path of the file.
        columns: F columns.
        x: (N, F) numbers, in the order of the file.
    """
    for feature, column in enumerate(columns):
        name = column.name
        counts = len(x) > 2 and x[0, feature] in (0, 1) and bool((np.diff(x[:, feature]) == 1).all())
        if counts and (name.lower() in INDEX_NAMES or name.startswith("Unnamed:")):
            what = f"column {name!r}" if name else "the column without a name"
            warn_once(
                f"data {path}: {what} counts the rows, like the index that pandas writes, and is used as an input; "
                f"remove it with drop: [{name!r}] of the data set table, or write the file without it"
            )


def warn_about_merging(path: Path, x: Array, columns: Sequence[TableColumn] = ()) -> None:
    """Warn about features in which distinct numbers become equal in float32, the data type of all computations.

    Columns of fractions are checked only if their range is small compared with their magnitude, as for times since
    1970. Other fractions are rounded by much less than their differences.

    Args:
        path: path of the file.
        x: (N, *observation) numbers in the data type of the file.
        columns: columns of a table.
    """
    if x.dtype.itemsize < 4 or x.dtype == np.float32 or not x.size:
        return
    values = x.reshape(len(x), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        low, high = (f.reduce(values, 0).astype(np.float64) for f in (np.fmin, np.fmax))
        magnitude = np.maximum(np.abs(low), np.abs(high))
        suspects = (magnitude > MAX_EXACT_INTEGER) | (magnitude * MIN_LEVELS > (high - low) * MAX_EXACT_INTEGER)
    for feature in np.flatnonzero(suspects & (high > low)).tolist():
        before, after = _count_distinct(values[:, feature])
        if after < before:
            what = f"column {columns[feature].name}" if columns else f"value {feature} of each row"
            warn_once(
                f"data {path}: {what}: {before - after:,} of its {before:,} distinct numbers become equal to others "
                "in float32, the data type of networks; subtract the minimum in the file, write times in larger "
                "units, or name the column under categorical or drop of the data set table if its numbers are ids"
            )


def _count_distinct(values: Array) -> tuple[int, int]:
    """Count the distinct numbers, in their data type and in float32."""
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    exact = known.dtype.kind == "f" and np.abs(known).max(initial=0) <= MAX_EXACT_INTEGER
    if exact and (known == np.round(known)).all():
        return 0, 0
    return len(np.unique(known)), len(np.unique(known.astype(np.float32)))


def warn_about_texts(
    path: Path, name: str, train: Sequence[str | None], test: Sequence[str | None], *, is_categorical: bool
) -> None:
    """Warn about a column of texts that probably does not hold categories.

    Args:
        path: path of the file.
        name: name of the column.
        train, test: its cells, None for missing ones.
        is_categorical: whether the config names it under ``categorical``.
    """
    train_texts, test_texts = [text for text in train if text is not None], [text for text in test if text is not None]
    texts = set(train_texts)
    new = sum(text not in texts for text in test_texts)
    notation = None if is_categorical else detect_notation(texts)
    limit = MIN_ROWS if notation is not None and notation[0] == DATES else 2  # a few dates may be categories
    if len(train_texts) >= MIN_ROWS and len(texts) >= DISTINCT_SHARE * len(train_texts):
        symptom = f"{len(texts):,} distinct texts in {len(train_texts):,} training rows with a text"
    elif len(test_texts) >= MIN_ROWS // 2 and new > UNKNOWN_SHARE * len(test_texts):
        symptom = f"{new:,} of {len(test_texts):,} texts of test rows are in no training row and count as missing"
    elif notation is not None and len(texts) > limit:
        symptom = f"{len(texts):,} texts become categories without order"
    else:
        return
    notation = detect_notation(texts)
    remedy = "remove it with drop, unless these are categories"
    if notation is not None:
        alternative = "" if is_categorical else ", or name the column under categorical"
        remedy = f"they look like {notation[0]}: {notation[1]}{alternative}"
    warn_once(f"data {path}: column {name}: {symptom}; {remedy}")


def warn_about_classes(path: Path, target: str, labels: Collection[Any]) -> None:
    """Warn about a column to predict with almost as many classes as rows, or with classes that are probably equal."""
    distinct = len(set(labels))
    first_names: dict[Any, str] = {}
    for name in sorted({str(label) for label in labels}):
        value = parse_number(name)
        other = first_names.setdefault(name.casefold() if value is None else value, name)
        if other != name:
            warn_once(
                f"data {path}: column {target}: {other!r} and {name!r} are two classes; write both the same if they "
                "are one"
            )
    if len(labels) >= MIN_ROWS and distinct >= DISTINCT_SHARE * len(labels):
        warn_once(
            f"data {path}: column {target}: {distinct:,} classes in {len(labels):,} rows; set regression: true if it "
            "is a number to predict"
        )
