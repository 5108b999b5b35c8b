"""The block YAML that a run's config is written in, read sixty times as fast as a whole YAML reader would.

A thousand configs are read whenever runs are selected by a setting. What is not of the plain kind that
:func:`rlcl.experiment.dump` writes is left to the whole reader.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Unusual", "read_block"]

Lines = list[tuple[int, str]]
KEY = re.compile(r"([A-Za-z_][\w.-]*):(?: (.+))?")
QUOTED = re.compile(r"'((?:[^']|'')*)'")
INTEGER = re.compile(r"-?(?:0|[1-9]\d*)")
FLOAT = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+(?:[eE][-+]?\d+)?|[eE][-+]?\d+)")
WORDS: dict[str, Any] = {"null": None, "true": True, "false": False, "[]": [], "{}": {}}


class Unusual(ValueError):
    """A text that only a whole YAML reader can be trusted with."""


def read_block(text: str) -> Any:
    """The mappings, lists and plain values of a text.

    Raises:
        Unusual: the text has anything else.
    """
    lines = [(len(line) - len(line.lstrip(" ")), line.strip(" ")) for line in text.splitlines()]
    if not lines or any(not content or "\t" in content for _, content in lines):
        raise Unusual("an empty line or a tab")
    value, end = _block(lines, 0, lines[0][0])
    if end != len(lines):
        raise Unusual(lines[end][1])
    return value


def _block(lines: Lines, at: int, indent: int) -> tuple[Any, int]:
    if lines[at][1].startswith("- "):
        return _sequence(lines, at, indent)
    return _mapping(lines, at, indent)


def _sequence(lines: Lines, at: int, indent: int) -> tuple[list[Any], int]:
    items = []
    while at < len(lines) and lines[at][0] == indent and lines[at][1].startswith("- "):
        content = lines[at][1][2:]
        if content.startswith("- ") or KEY.fullmatch(content):
            lines[at] = (indent + 2, content)
            item, at = _block(lines, at, indent + 2)
        else:
            item, at = _scalar(lines, at, indent, content)
        items.append(item)
    return items, at


def _mapping(lines: Lines, at: int, indent: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while at < len(lines) and lines[at][0] == indent and not lines[at][1].startswith("- "):
        match = KEY.fullmatch(lines[at][1])
        if match is None or match[1].lower() in WORDS or match[1] in found:
            raise Unusual(lines[at][1])
        if match[2] is not None:
            found[match[1]], at = _scalar(lines, at, indent, match[2])
            continue
        at += 1
        if at == len(lines) or lines[at][0] < indent or (lines[at][0] == indent and not lines[at][1].startswith("- ")):
            raise Unusual(f"{match[1]} has no value")
        found[match[1]], at = _block(lines, at, lines[at][0])
    return found, at


def _scalar(lines: Lines, at: int, indent: int, text: str) -> tuple[Any, int]:
    """A value, which may go on on deeper lines."""
    at += 1
    while at < len(lines) and lines[at][0] > indent:
        text, at = f"{text} {lines[at][1]}", at + 1
    return _value(text), at


def _value(text: str) -> Any:
    if text in WORDS:
        known = WORDS[text]
        return type(known)() if isinstance(known, list | dict) else known
    if INTEGER.fullmatch(text):
        return int(text)
    if FLOAT.fullmatch(text):
        return float(text)
    quoted = QUOTED.fullmatch(text)
    if quoted is not None:
        return quoted[1].replace("''", "'")
    if not re.match(r"[A-Za-z/(]", text) or ": " in text or " #" in text or text[-1] == ":" or text.lower() in WORDS:
        raise Unusual(text)
    return text
