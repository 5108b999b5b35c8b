"""What is suspicious in the columns of a user's file: counters, numbers that merge, texts meant as numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlcl.data.cells import DATES, notation, number
from rlcl.data.validation import tell
from rlcl.types import Column

__all__ = ["warn_of_classes", "warn_of_index", "warn_of_merging", "warn_of_texts"]

Array = np.ndarray[Any, Any]
WHOLE = 2**24  # up to here float32 holds every whole number
LEVELS = 2**14  # a column of fractions whose range float32 cuts into fewer steps is looked at
FEW = 10  # rows from which on distinct texts are suspicious
DISTINCT, UNKNOWN = 0.9, 0.5  # shares of rows
COUNTERS = ("", "id", "index", "row", "row.names", "row_id", "rowid", "rownames")


def warn_of_index(place: Path, columns: Sequence[Column], x: Array) -> None:
    """Says which columns are row numbers that another program wrote, by their names and values.

    Args:
        place: of the file.
        columns: F of them.
        x: (N, F), in the order of the file.
    """
    for feature, column in enumerate(columns):
        name = column.name
        counts = len(x) > 2 and x[0, feature] in (0, 1) and bool((np.diff(x[:, feature]) == 1).all())
        if counts and (name.lower() in COUNTERS or name.startswith("Unnamed:")):
            what = f"column {name!r}" if name else "the column without a name"
            tell(
                f"data {place}: {what} counts the rows, as the index that pandas writes does, and is learned from; "
                f"leave it out with drop: [{name!r}] of the data set table, or write the file without it"
            )


def warn_of_merging(place: Path, x: Array, columns: Sequence[Column] = ()) -> None:
    """Says in which features distinct numbers become one in float32, in which all of rlcl computes.

    Of fractions only those are looked at whose range is small beside their magnitude, such as times since 1970: others
    are rounded by far less than they differ.

    Args:
        place: of the file.
        x: (N, *observation), as the file has it.
        columns: of a table.
    """
    if x.dtype.itemsize < 4 or x.dtype == np.float32 or not x.size:
        return
    values = x.reshape(len(x), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        low, high = (f.reduce(values, 0).astype(np.float64) for f in (np.fmin, np.fmax))
        magnitude = np.maximum(np.abs(low), np.abs(high))
        suspects = (magnitude > WHOLE) | (magnitude * LEVELS > (high - low) * WHOLE)
    for feature in np.flatnonzero(suspects & (high > low)).tolist():
        before, after = _distinct(values[:, feature])
        if after < before:
            what = f"column {columns[feature].name}" if columns else f"value {feature} of each row"
            tell(
                f"data {place}: {what}: {before - after:,} of its {before:,} distinct numbers become equal to others "
                "in float32, in which networks compute; subtract the smallest number in the file, write times in "
                "larger units, and name numbers of things (ids) under categorical or drop of the data set table"
            )


def _distinct(values: Array) -> tuple[int, int]:
    """How many numbers differ, as they are and in float32."""
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    if known.dtype.kind == "f" and np.abs(known).max(initial=0) <= WHOLE and (known == np.round(known)).all():
        return 0, 0
    return len(np.unique(known)), len(np.unique(known.astype(np.float32)))


def warn_of_texts(
    place: Path, name: str, train: Sequence[str | None], test: Sequence[str | None], *, meant: bool
) -> None:
    """Says what a column of texts looks like that can hardly be categories.

    Args:
        place: of the file.
        name: of the column.
        train, test: its cells, None where one is missing.
        meant: whether the config names it as categorical.
    """
    known, tested = [text for text in train if text is not None], [text for text in test if text is not None]
    texts = set(known)
    new = sum(text not in texts for text in tested)
    found = None if meant else notation(texts)
    many = len(texts) > (FEW if found is not None and found[0] == DATES else 2)  # of dates a few may be categories
    if len(known) >= FEW and len(texts) >= DISTINCT * len(known):
        told = f"{len(texts):,} of {len(known):,} training rows with a text have one of their own"
    elif len(tested) >= FEW // 2 and new > UNKNOWN * len(tested):
        told = f"{new:,} of {len(tested):,} texts of test rows are in no training row, so missing"
    elif found is not None and many:
        told = f"{len(texts):,} texts become categories without order"
    else:
        return
    found = notation(texts)
    remedy = "leave it out with drop, unless these are categories"
    if found is not None:
        keep = "" if meant else ", or name the column under categorical"
        remedy = f"they look like {found[0]}: {found[1]}{keep}"
    tell(f"data {place}: column {name}: {told}; {remedy}")


def warn_of_classes(place: Path, target: str, labels: Collection[Any]) -> None:
    """Says of a column to predict that it has nearly as many classes as rows, or classes that are hardly two."""
    distinct = len(set(labels))
    alike: dict[Any, str] = {}
    for name in sorted({str(label) for label in labels}):
        value = number(name)
        other = alike.setdefault(name.casefold() if value is None else value, name)
        if other != name:
            tell(
                f"data {place}: column {target}: {other!r} and {name!r} are two classes; write both the same if they "
                "are one"
            )
    if len(labels) >= FEW and distinct >= DISTINCT * len(labels):
        tell(
            f"data {place}: column {target}: {distinct:,} classes in {len(labels):,} rows; set regression: true if it "
            "is a number to predict"
        )
