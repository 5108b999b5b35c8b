"""Categories of test rows that do not occur in the training rows of a table."""

from __future__ import annotations

from attrs import frozen

__all__ = ["UnknownCategory"]


@frozen
class UnknownCategory:
    """A text of a test row that no training row contains and that is therefore treated as missing.

    Args:
        column: name of the column.
        text: the text.
        row: index of the test row, from 0.
        location: file and line, for messages.
    """

    column: str
    text: str
    row: int
    location: str
