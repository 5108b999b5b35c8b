"""The columns of a table."""

from __future__ import annotations

from attrs import frozen

__all__ = ["MISSING", "Column"]

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
