"""Descriptions of settings, parsed from docstrings."""

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
    """Return the description of each setting of a class (or function), by name.

    The descriptions are the ``Args:`` sections (Google style) of the docstrings of the class, its ``__init__`` and its
    bases; derived classes override their bases.
    """
    result: dict[str, str] = {}
    for owner in reversed(inspect.getmro(cls) if inspect.isclass(cls) else (cls,)):
        for documented in (owner, vars(owner).get("__init__")) if inspect.isclass(owner) else (owner,):
            result |= parse_args_section(getattr(documented, "__doc__", None) or "")
    return result


def parse_args_section(docstring: str) -> dict[str, str]:
    """Return the descriptions in the ``Args:`` section of a docstring, by name.

    An entry is one or several names, a colon, and a text that may continue on indented lines.
    """
    result: dict[str, str] = {}
    names: list[str] = []
    for indent, line in _args_lines(inspect.cleandoc(docstring)):
        entry = _ENTRY.fullmatch(line) if indent == 0 else None
        if entry is not None:
            names = [name.lstrip("*") for name in entry[1].split(", ")]
            result |= dict.fromkeys(names, _without_markup(entry[2]))
        else:
            result |= {name: f"{result[name]} {_without_markup(line)}" for name in names}
    return result


def _args_lines(docstring: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of the ``Args:`` section, each with its indentation relative to the section."""
    lines = iter(docstring.splitlines())
    header = next((line for line in lines if line.rstrip() == "Args:"), None)
    section_indent: int | None = None
    for line in lines if header else ():
        text = line.strip()
        if not text:
            continue
        indent = len(line) - len(line.lstrip())
        if indent == 0:
            return
        section_indent = indent if section_indent is None else section_indent
        yield max(0, indent - section_indent), text


def _without_markup(text: str) -> str:
    """Return a text without its reStructuredText markup."""
    return _ROLE.sub(r"\1", text).replace("``", "")
