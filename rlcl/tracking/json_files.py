"""Readers of the JSON files of runs and suites; a damaged file is reported and raises nothing.

A file is damaged if it is not JSON, or if a value has another type than rlcl writes. This module does not import
torch: listing a thousand runs takes as long as importing torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rlcl.formats import parse_json

__all__ = ["STATES", "read_json", "read_object", "short_repr"]

STATES = ("running", "finished", "failed", "interrupted")

Check = Callable[[Any], bool]


def read_json(path: Path, schema: str | None = None) -> dict[str, Any]:
    """Return the object in a JSON file; empty if the file does not exist or is damaged."""
    return read_object(path, schema)[0]


def read_object(path: Path, schema: str | None = None) -> tuple[dict[str, Any], str]:
    """Return the object in a JSON file and an empty text, or an empty object and the fault.

    Args:
        path: the file.
        schema: name of the schema of its content; the name of the file by default.
    """
    try:
        content = parse_json(path.read_bytes())
    except FileNotFoundError:
        return {}, f"no {path.name}"
    except OSError as error:
        return {}, f"{path.name} cannot be read: {error.strerror}"
    except ValueError:
        return {}, f"{path.name} is damaged: it is not JSON"
    if not isinstance(content, dict):
        return {}, f"{path.name} is damaged: it is not an object"
    for key, check in FILE_SCHEMAS.get(schema or path.name, {}).items():
        if key in content and not check(content[key]):
            return {}, f"{path.name} is damaged: {key} is {short_repr(content[key])}"
    return content, ""


def short_repr(value: Any) -> str:
    """Return the representation of a value for a message, with at most 42 characters."""
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:39]}..."


def _text(value: Any) -> bool:
    """Return True for text that can be printed; unpaired surrogates cannot."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value))


def _integer(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _number(value: Any) -> bool:
    return type(value) is float or _integer(value)


def _finite_number(value: Any) -> bool:
    return _number(value) and math.isfinite(value)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value))


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _dict_of(check: Check) -> Check:
    return lambda value: _mapping(value) and all(map(check, value.values()))


def _object_with(**checks: Check) -> Check:
    """Return a check for an object with these keys and valid values."""
    return lambda value: _mapping(value) and all(key in value and check(value[key]) for key, check in checks.items())


def _git(value: Any) -> bool:
    return value is None or (_mapping(value) and _or_null(_text)(value.get("revision")))


def _definition(value: Any) -> bool:
    return _mapping(value) and _dict_of(lambda axis: isinstance(axis, dict | list))(value.get("sweep", {}))


def _cell(value: Any) -> bool:
    """Return True for a valid cell of a suite; keys may be missing."""
    checks: Mapping[str, Check] = {
        "name": _text,
        "labels": _dict_of(_text),
        "seed": _integer,
        "hash": _text,
        "run": _text,
    }
    return _mapping(value) and all(key not in checks or checks[key](item) for key, item in value.items())


FILE_SCHEMAS: Mapping[str, Mapping[str, Check]] = {
    "status.json": {
        "state": lambda value: value in STATES,
        "step": _integer,
        "experience": _integer,
        "of": _integer,
        "updated": _text,
        "error": _text,
        "seconds": _finite_number,
        "cpu_seconds": _finite_number,
    },
    "manifest.json": {
        "started": _text,
        "seed": _integer,
        "data": _text,
        "git": _git,
        "python": _text,
        "packages": _dict_of(_or_null(_text)),
        "hardware": _mapping,
        "sessions": _list_of(_mapping),
        "parent": _mapping,
        "initial": _mapping,
        "imported": _mapping,
    },
    "trackers.json": {},
    "summary.json": {
        "metrics": _dict_of(_or_null(_number)),
        "names": _or_null(_list_of(_text)),
        "baselines": _list_of(_text),
        "measures": _list_of(_text),
        "experiences": _list_of(_text),
        "trained": _list_of(_text),
        "rows": _list_of(_text),
        "meaning": _mapping,
        "steps": _integer,
        "seconds": _finite_number,
        "cpu_seconds": _finite_number,
        "peak_memory_bytes": _integer,
        "latency_ms": _finite_number,
        "records": _object_with(length=_integer, sha256=_text),
    },
    "suite.json": {
        "name": _text,
        "statement": _text,
        "file": _text,
        "budget": _text,
        "axes": _dict_of(_list_of(_text)),
        "cells": _list_of(_cell),
        "definition": _definition,
    },
    "submission": {"token": _text, "slurm_id": _text},
    "started": {"host": _text},
    "ended": {"status": _integer},
    "stop": {"at_once": lambda value: isinstance(value, bool)},
    "outcome": {
        "state": _text,
        "status": _or_null(_integer),
        "seconds": _finite_number,
        "messages": _list_of(_text),
    },
}
