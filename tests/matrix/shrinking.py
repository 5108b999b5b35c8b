"""The smallest combination that fails as a given one does: options and components go back to their defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from matrix.space import Combination, Space
from matrix.taking import Taken

__all__ = ["shrunk", "sign"]


def sign(found: Taken) -> tuple[str, str, str]:
    """What two failures of one cause share: the kind, and what was said last, without numbers and names of files."""
    if not found.failure:
        return ("", "", "")
    lines = [line.strip() for line in found.text.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if re.match(r"rlcl: |[\w.]*(Error|Exception|Warning)\b", line)), "")
    if not last:
        last = lines[0] if lines else ""
    places = [line for line in lines if line.startswith("File ")]
    where = re.sub(r", line \d+", "", places[-1]) if places else ""
    return (found.failure, where, re.sub(r"'[^']*'|\S*/\S*|\d[\d.e+-]*", "#", last)[:160])


def shrunk(row: Combination, space: Space, fails: Callable[[Combination], bool], first: Sequence[str]) -> Combination:
    """Puts as many factors as go back to their first values, in ever smaller groups.

    Args:
        row: that fails.
        space: of it.
        fails: whether a combination is allowed and fails in the same way.
        first: factors to keep to the last: those that others depend on.
    """
    names = [name for name in row if name not in first and row[name] != space.by_name[name].values[0]]
    found = _without(dict(row), names, space, fails)
    return _without(found, [n for n in first if n in row and row[n] != space.by_name[n].values[0]], space, fails)


def _without(
    row: dict[str, str], names: Sequence[str], space: Space, fails: Callable[[Combination], bool]
) -> dict[str, str]:
    if not names:
        return row
    kept = {n: value for n, value in row.items() if n not in names and value != space.by_name[n].values[0]}
    made = space.completed(kept, {})
    if made is not None and made != row and fails(made):
        return made
    if len(names) == 1:
        return row
    middle = len(names) // 2
    row = _without(row, names[:middle], space, fails)
    return _without(row, names[middle:], space, fails)
