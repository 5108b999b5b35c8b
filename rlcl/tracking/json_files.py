"""The JSON files of a run and of a suite, read so that a damaged one is told of and breaks nothing.

A file is damaged if it is no JSON, or if a value that somebody reads is of another kind than rlcl writes. Nothing here
imports torch, so that a thousand runs are listed in the time that torch takes to load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rlcl.formats import parsed

__all__ = ["STATES", "read_json", "read_object", "shortened"]

STATES = ("running", "finished", "failed", "interrupted")

Check = Callable[[Any], bool]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's object; empty where there is none or it is damaged."""
    return read_object(path)[0]


def read_object(path: Path) -> tuple[dict[str, Any], str]:
    """A JSON file's object; or an empty one, and why."""
    try:
        content = parsed(path.read_bytes())
    except FileNotFoundError:
        return {}, f"no {path.name}"
    except OSError as error:
        return {}, f"{path.name} cannot be read: {error.strerror}"
    except ValueError:
        return {}, f"{path.name} is damaged: it is no JSON"
    if not isinstance(content, dict):
        return {}, f"{path.name} is damaged: it holds no object"
    for key, check in SHAPES.get(path.name, {}).items():
        if key in content and not check(content[key]):
            return {}, f"{path.name} is damaged: {key} is {shortened(content[key])}"
    return content, ""


def shortened(value: Any) -> str:
    """A value in a message."""
    told = ascii(value)
    return told if len(told) <= 40 else f"{told[:39]}..."


def _text(value: Any) -> bool:
    """Whether it is text that can be printed; half a surrogate pair cannot."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value))


def _whole(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _value(value: Any) -> bool:
    return type(value) is float or _whole(value)


def _amount(value: Any) -> bool:
    return _value(value) and math.isfinite(value)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value))


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _each(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _by_name(check: Check) -> Check:
    return lambda value: _mapping(value) and all(map(check, value.values()))


def _with(**checks: Check) -> Check:
    """Whether it is an object that has these keys, each of its kind."""
    return lambda value: _mapping(value) and all(key in value and check(value[key]) for key, check in checks.items())


def _git(value: Any) -> bool:
    return value is None or (_mapping(value) and _or_null(_text)(value.get("revision")))


def _definition(value: Any) -> bool:
    return _mapping(value) and _by_name(lambda axis: isinstance(axis, dict | list))(value.get("sweep", {}))


def _cell(value: Any) -> bool:
    """Whether it can be read as a cell of a suite; keys may be missing."""
    kinds: Mapping[str, Check] = {
        "name": _text,
        "labels": _by_name(_text),
        "seed": _whole,
        "hash": _text,
        "run": _text,
        "state": _text,
        "status": _or_null(_whole),
        "seconds": _amount,
        "told": _each(_text),
    }
    return _mapping(value) and all(key not in kinds or kinds[key](item) for key, item in value.items())


SHAPES: Mapping[str, Mapping[str, Check]] = {
    "status.json": {
        "state": lambda value: value in STATES,
        "step": _whole,
        "experience": _whole,
        "of": _whole,
        "updated": _text,
        "error": _text,
        "seconds": _amount,
        "cpu_seconds": _amount,
    },
    "manifest.json": {
        "started": _text,
        "seed": _whole,
        "data": _text,
        "git": _git,
        "python": _text,
        "packages": _by_name(_or_null(_text)),
        "hardware": _mapping,
        "sessions": _each(_mapping),
        "parent": _mapping,
        "initial": _mapping,
    },
    "summary.json": {
        "metrics": _by_name(_or_null(_value)),
        "names": _each(_text),
        "measures": _each(_text),
        "experiences": _each(_text),
        "trained": _each(_text),
        "meaning": _mapping,
        "steps": _whole,
        "seconds": _amount,
        "cpu_seconds": _amount,
        "peak_memory_bytes": _whole,
        "latency_ms": _amount,
        "records": _with(length=_whole, sha256=_text),
    },
    "suite.json": {
        "name": _text,
        "statement": _text,
        "file": _text,
        "budget": _text,
        "axes": _by_name(_each(_text)),
        "cells": _each(_cell),
        "definition": _definition,
    },
}
