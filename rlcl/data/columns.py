"""What is missing in the columns of a table."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Unknown"]


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
