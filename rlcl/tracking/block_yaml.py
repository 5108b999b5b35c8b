"""Parser of the block YAML of run configs, sixty times as fast as a complete YAML parser.

Selecting runs by a setting may read a thousand configs. The parser supports the subset of YAML that
:func:`rlcl.experiment.dump` writes; a complete parser must read other texts.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["UnsupportedYamlError", "read_block"]

IndentedLines = list[tuple[int, str]]  # indentation and content of each line
KEY = re.compile(r"([A-Za-z_][\w.-]*):(?: (.+))?")
QUOTED = re.compile(r"'((?:[^']|'')*)'")
INTEGER = re.compile(r"-?(?:0|[1-9]\d*)")
FLOAT = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+(?:[eE][-+]?\d+)?|[eE][-+]?\d+)")
WORDS: dict[str, Any] = {"null": None, "true": True, "false": False, "[]": [], "{}": {}}


class UnsupportedYamlError(ValueError):
    """Raised when a text is not in the supported subset of YAML."""


def read_block(text: str) -> Any:
    """Return the mappings, lists and plain values of a text.

    Raises:
        UnsupportedYamlError: the text contains anything else.
    """
    lines = [(len(line) - len(line.lstrip(" ")), line.strip(" ")) for line in text.splitlines()]
    if not lines or any(not content or "\t" in content for _, content in lines):
        raise UnsupportedYamlError("an empty line or a tab")
    value, end = _block(lines, 0, lines[0][0])
    if end != len(lines):
        raise UnsupportedYamlError(lines[end][1])
    return value


def _block(lines: IndentedLines, index: int, indent: int) -> tuple[Any, int]:
    if lines[index][1].startswith("- "):
        return _sequence(lines, index, indent)
    return _mapping(lines, index, indent)


def _sequence(lines: IndentedLines, index: int, indent: int) -> tuple[list[Any], int]:
    items = []
    while index < len(lines) and lines[index][0] == indent and lines[index][1].startswith("- "):
        content = lines[index][1][2:]
        if content.startswith("- ") or KEY.fullmatch(content):
            lines[index] = (indent + 2, content)
            item, index = _block(lines, index, indent + 2)
        else:
            item, index = _scalar(lines, index, indent, content)
        items.append(item)
    return items, index


def _mapping(lines: IndentedLines, index: int, indent: int) -> tuple[dict[str, Any], int]:
    mapping: dict[str, Any] = {}
    while index < len(lines) and lines[index][0] == indent and not lines[index][1].startswith("- "):
        match = KEY.fullmatch(lines[index][1])
        if match is None or match[1].lower() in WORDS or match[1] in mapping:
            raise UnsupportedYamlError(lines[index][1])
        if match[2] is not None:
            mapping[match[1]], index = _scalar(lines, index, indent, match[2])
            continue
        index += 1
        if (
            index == len(lines)
            or lines[index][0] < indent
            or (lines[index][0] == indent and not lines[index][1].startswith("- "))
        ):
            raise UnsupportedYamlError(f"{match[1]} has no value")
        mapping[match[1]], index = _block(lines, index, lines[index][0])
    return mapping, index


def _scalar(lines: IndentedLines, index: int, indent: int, text: str) -> tuple[Any, int]:
    """Return a value that may continue on lines with a larger indentation."""
    index += 1
    while index < len(lines) and lines[index][0] > indent:
        text, index = f"{text} {lines[index][1]}", index + 1
    return _value(text), index


def _value(text: str) -> Any:
    if text in WORDS:
        value = WORDS[text]
        return type(value)() if isinstance(value, list | dict) else value
    if INTEGER.fullmatch(text):
        return int(text)
    if FLOAT.fullmatch(text):
        return float(text)
    quoted = QUOTED.fullmatch(text)
    if quoted is not None:
        return quoted[1].replace("''", "'")
    if not re.match(r"[A-Za-z/(]", text) or ": " in text or " #" in text or text[-1] == ":" or text.lower() in WORDS:
        raise UnsupportedYamlError(text)
    return text
