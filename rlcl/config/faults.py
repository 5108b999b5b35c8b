"""Faults of a config and their key paths."""

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
    """A fault of a config.

    Args:
        path: key path of the value.
        message: description of the fault.
        unknown: True if the fault is an unknown key.
    """

    path: tuple[Key, ...]
    message: str
    unknown: bool = False

    def under(self, *prefix: Key) -> Fault:
        """Return the fault with a prefix before its key path."""
        return Fault((*prefix, *self.path), self.message, self.unknown)

    def __str__(self) -> str:
        return f"{key_path(self.path)}: {self.message}" if self.path else self.message


class Faults(Exception):
    """Raised inside ``rlcl.config`` with all faults of one value."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(map(str, self.faults)))

    @classmethod
    def one(cls, message: str, *path: Key) -> Faults:
        """Return an exception with a single fault."""
        return cls([Fault(path, message)])


def key_path(path: Sequence[Key]) -> str:
    """Return ``("learner", "methods", 0)`` as ``"learner.methods[0]"``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def parse_key_path(text: str) -> tuple[Key, ...]:
    """Parse ``"learner.methods[0]"`` or ``"learner.methods.0"`` to ``("learner", "methods", 0)``.

    Raises:
        Problem: the text is not a key path.
    """
    steps = list(_STEP.finditer(text))
    if not text or "".join(step.group() for step in steps) != text or text.startswith((".", "[")):
        raise Problem(f"{text!r} is not a key path; write for example learner.methods[0].capacity")
    return tuple(int(step[1] or step[2]) if (step[1] or step[2]).isdecimal() else step[2] for step in steps)


def fault_of(error: Exception, settings: Collection[str]) -> Fault:
    """Convert an error of a constructor to a fault.

    If the message begins with the name of a setting (``"capacity: expected ..."``), it becomes the key path.
    """
    where, message = (error.where, error.message) if isinstance(error, Problem) else ("", str(error))
    if not where:
        first, colon, rest = message.partition(": ")
        if colon and re.split(r"[.\[]", first)[0] in settings:
            where, message = first, rest
    try:
        return Fault(parse_key_path(where) if where else (), message)
    except Problem:
        return Fault((), f"{where}: {message}")
