"""What each setting means, read from the docstring of its class."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

__all__ = ["descriptions"]

_ENTRY = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?: +(.*)")
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


@cache
def descriptions(cls: Any) -> Mapping[str, str]:
    """The meaning of each setting of a class (or function), by name.

    It is what stands under ``Args:`` (Google style) in the docstring of the class, of its ``__init__`` and of its
    bases; the most derived one counts.
    """
    found: dict[str, str] = {}
    for owner in reversed(inspect.getmro(cls) if inspect.isclass(cls) else (cls,)):
        for holder in (owner, vars(owner).get("__init__")) if inspect.isclass(owner) else (owner,):
            found |= described(getattr(holder, "__doc__", None) or "")
    return found


def described(docstring: str) -> dict[str, str]:
    """The entries under ``Args:``: a name or several, a colon, and a text that may continue on indented lines."""
    made: dict[str, str] = {}
    names: list[str] = []
    for indent, line in _args(inspect.cleandoc(docstring)):
        entry = _ENTRY.fullmatch(line) if indent == 0 else None
        if entry is not None:
            names = [name.lstrip("*") for name in entry[1].split(", ")]
            made |= dict.fromkeys(names, _plain(entry[2]))
        else:
            made |= {name: f"{made[name]} {_plain(line)}" for name in names}
    return made


def _args(docstring: str) -> Iterator[tuple[int, str]]:
    """The lines of the section, each with its indentation beyond the section's own."""
    lines = iter(docstring.splitlines())
    first = next((len(line) for line in lines if line.rstrip() == "Args:"), None)
    own: int | None = None
    for line in lines if first else ():
        text = line.strip()
        if not text:
            continue
        indent = len(line) - len(line.lstrip())
        if indent == 0:
            return
        own = indent if own is None else own
        yield max(0, indent - own), text


def _plain(text: str) -> str:
    """A text without its reStructuredText markup."""
    return _ROLE.sub(r"\1", text).replace("``", "")
