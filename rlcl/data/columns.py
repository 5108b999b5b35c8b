"""The columns of a table."""

from __future__ import annotations

from attrs import frozen

__all__ = ["MISSING", "Column", "Unknown"]

MISSING = ("", "NA", "NaN", "nan", "null", "?")  # cells that stand for a missing value, unless told otherwise


@frozen
class Column:
    """One feature of inputs that are rows of a table.

    Args:
        name: as the file's header has it.
        categories: the texts that whole numbers from 0 stand for, in that order; empty for a column of numbers.
    """

    name: str
    categories: tuple[str, ...] = ()

    @property
    def categorical(self) -> bool:
        return bool(self.categories)


@frozen
class Unknown:
    """A text of a test row that no training row has, and that is missing therefore.

    Args:
        column: its name.
        text: that was found.
        row: from 0, of the test rows.
        place: file and line, for messages.
    """

    column: str
    text: str
    row: int
    place: str
