"""Checkpoints: tensors as safetensors, everything else as JSON, both under a checksum.

A checkpoint is a folder that is written under a temporary name and renamed when it is complete.
Loading one executes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlcl.errors import CheckpointError, Problem
from rlcl.formats import Format, parsed
from rlcl.state import flatten, unflatten

__all__ = ["load", "load_newest", "remove_after", "save", "whole"]

TENSORS, STATE, CHECKSUMS = "tensors.safetensors", "state.json", "checksums.json"
FORMAT = Format("a checkpoint", 1, "Use the rlcl that wrote it, or remove the run with rlcl runs rm to start it anew")


def save(folder: Path, number: int, state: Mapping[str, Any], keep: int = 2) -> Path:
    """Writes a checkpoint and removes all but the newest ones.

    Args:
        folder: of all checkpoints of a run.
        number: grows from one checkpoint to the next.
        state: a tree of tensors and plain values.
        keep: how many stay.

    Returns:
        The checkpoint's own folder.

    Raises:
        CheckpointError: the state holds something that is neither a tensor, an array nor a plain value.
    """
    try:
        structure, tensors = flatten(state)
    except TypeError as error:
        raise CheckpointError(f"{error}; state_dict must give what a file can hold without pickle") from error
    target, temporary = folder / f"{number:08d}", folder / f".{number:08d}.{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*"):  # by a process that was killed while it saved
        shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        _save_tensors(tensors, temporary / TENSORS)
        document = {"version": FORMAT.version, "state": _tagged(structure)}
        (temporary / STATE).write_text(json.dumps(document, allow_nan=False))
        sums = {name: _checksum(temporary / name) for name in (TENSORS, STATE)}
        (temporary / CHECKSUMS).write_text(json.dumps(sums))
        for name in (TENSORS, STATE, CHECKSUMS):
            _flush(temporary / name)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for old in _all(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def _tagged(structure: Any) -> Any:
    """With numbers that JSON does not have as ``{"float": "inf"}``, which :func:`rlcl.state.unflatten` reads."""
    if isinstance(structure, float) and not math.isfinite(structure):
        return {"float": str(structure)}
    if isinstance(structure, dict):
        return {key: _tagged(value) for key, value in structure.items()}
    return [_tagged(value) for value in structure] if isinstance(structure, list) else structure


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # it wraps what the system says of a full disk
        found = re.search(r"os error (\d+)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error


def load(path: Path) -> Any:
    """The state in one checkpoint.

    Raises:
        CheckpointError: a file is missing, damaged, or of another version.
    """
    try:
        sums = parsed((path / CHECKSUMS).read_text())
        for name in (TENSORS, STATE):
            if _checksum(path / name) != sums[name]:
                raise CheckpointError(f"checkpoint {path}: {name} is damaged (its checksum differs)")
        document = parsed((path / STATE).read_text())
        return FORMAT.read(document["version"], unflatten(document["state"], load_file(path / TENSORS)))
    except Problem as problem:
        raise CheckpointError(f"{path}: {problem}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error}") from error


def load_newest(folder: Path, warn: Callable[[str], None]) -> tuple[int, Any] | None:
    """The newest checkpoint that is whole, with its number; None where there is none.

    Args:
        folder: of all checkpoints of a run.
        warn: told of each damaged one that is passed over.

    Raises:
        CheckpointError: there are some, and none is whole.
    """
    found = _all(folder)
    for path in found:
        try:
            return int(path.name), load(path)
        except CheckpointError as error:
            if path == found[-1]:
                raise CheckpointError(
                    f"{error}, and no other is left; remove the run with rlcl runs rm to start it anew"
                ) from error
            warn(f"{error}; the one before it is used")
    return None


def whole(folder: Path) -> Iterator[tuple[int, Any]]:
    """All checkpoints that are whole, with their numbers, the newest first."""
    for path in _all(folder):
        try:
            yield int(path.name), load(path)
        except CheckpointError:
            continue


def remove_after(folder: Path, number: int) -> None:
    """Removes the checkpoints that are newer than one from which a run is resumed."""
    for path in _all(folder):
        if int(path.name) > number:
            shutil.rmtree(path)


def _all(folder: Path) -> list[Path]:
    """Complete checkpoints, the newest first."""
    return sorted((p for p in folder.glob("*") if p.name.isdigit()), reverse=True) if folder.is_dir() else []


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
