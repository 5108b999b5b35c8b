"""Key paths, and what is wrong at them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from attrs import frozen

from rlcl.errors import Problem

__all__ = ["Fault", "Faults", "Key", "fault_of", "key_path", "parse_key_path"]

Key = str | int
"""One step of a key path: a key of a mapping, or an index of a list."""

_STEP = re.compile(r"\[(\d+)\]|\.?([^.\[\]]+)")


@frozen
class Fault:
    """One thing that is wrong, and where.

    Args:
        path: where.
        message: what.
        unknown: whether it is that there is no such key.
    """

    path: tuple[Key, ...]
    message: str
    unknown: bool = False

    def under(self, *prefix: Key) -> Fault:
        """The same seen from further out."""
        return Fault((*prefix, *self.path), self.message, self.unknown)

    def __str__(self) -> str:
        return f"{key_path(self.path)}: {self.message}" if self.path else self.message


class Faults(Exception):
    """All that is wrong within one value; it never leaves ``rlcl.config``."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(map(str, self.faults)))

    @classmethod
    def one(cls, message: str, *path: Key) -> Faults:
        return cls([Fault(path, message)])


def key_path(path: Sequence[Key]) -> str:
    """``("learner", "methods", 0)`` as ``"learner.methods[0]"``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def parse_key_path(text: str) -> tuple[Key, ...]:
    """``"learner.methods[0]"`` or ``"learner.methods.0"`` as ``("learner", "methods", 0)``.

    Raises:
        Problem: it is none.
    """
    steps = list(_STEP.finditer(text))
    if not text or "".join(step.group() for step in steps) != text or text.startswith((".", "[")):
        raise Problem(f"{text!r} is not a key path; write for example learner.methods[0].capacity")
    return tuple(int(step[1] or step[2]) if (step[1] or step[2]).isdecimal() else step[2] for step in steps)


def fault_of(error: Exception, settings: Collection[str]) -> Fault:
    """A constructor's complaint, at the setting that it begins with (``"capacity: expected ..."``)."""
    where, message = (error.where, error.message) if isinstance(error, Problem) else ("", str(error))
    if not where:
        first, colon, rest = message.partition(": ")
        if colon and re.split(r"[.\[]", first)[0] in settings:
            where, message = first, rest
    try:
        return Fault(parse_key_path(where) if where else (), message)
    except Problem:
        return Fault((), f"{where}: {message}")
