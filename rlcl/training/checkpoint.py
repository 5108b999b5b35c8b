"""Checkpoints: tensors as safetensors and all other values as JSON, with checksums.

A checkpoint is a folder that is written under a temporary name and renamed when it is complete.
Loading a checkpoint executes no code from it.
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
from rlcl.formats import Format, parse_json
from rlcl.state import flatten, unflatten

__all__ = ["intact_checkpoints", "load", "load_newest", "remove_newer", "save"]

TENSORS, STATE, CHECKSUMS = "tensors.safetensors", "state.json", "checksums.json"
FORMAT = Format(
    "a checkpoint", 1, "Use the rlcl version that wrote it, or remove the run with rlcl runs rm to start again"
)


def save(folder: Path, number: int, state: Mapping[str, Any], keep: int = 2) -> Path:
    """Write a checkpoint, and remove all but the newest checkpoints.

    Args:
        folder: folder of all checkpoints of a run.
        number: number of the checkpoint, higher than those of earlier checkpoints.
        state: tree of tensors, arrays and plain values.
        keep: number of checkpoints to keep.

    Returns:
        The folder of the new checkpoint.

    Raises:
        CheckpointError: the state contains a value that is not a tensor, an array or a plain value.
    """
    try:
        structure, tensors = flatten(state)
    except TypeError as error:
        raise CheckpointError(f"{error}; state_dict must return values that can be saved without pickle") from error
    target, temporary = folder / f"{number:08d}", folder / f".{number:08d}.{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*"):  # of a process that was killed while saving
        shutil.rmtree(leftover, ignore_errors=True)
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
    """Replace numbers that JSON does not support by ``{"float": "inf"}``, which :func:`rlcl.state.unflatten` reads."""
    if isinstance(structure, float) and not math.isfinite(structure):
        return {"float": str(structure)}
    if isinstance(structure, dict):
        return {key: _tagged(value) for key, value in structure.items()}
    return [_tagged(value) for value in structure] if isinstance(structure, list) else structure


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors to a file.

    Raises:
        OSError: the file cannot be written; safetensors wraps system errors, such as a full disk, in its own class.
    """
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        match = re.search(r"os error (\d+)", str(error))
        if match is None:
            raise
        raise OSError(int(match[1]), os.strerror(int(match[1])), str(path)) from error


def load(path: Path) -> Any:
    """Load the state in a checkpoint.

    Raises:
        CheckpointError: a file is missing or damaged, or has another version.
    """
    try:
        sums = parse_json((path / CHECKSUMS).read_text())
        for name in (TENSORS, STATE):
            if _checksum(path / name) != sums[name]:
                raise CheckpointError(f"checkpoint {path}: {name} is damaged (its checksum differs)")
        document = parse_json((path / STATE).read_text())
        return FORMAT.read(document["version"], unflatten(document["state"], load_file(path / TENSORS)))
    except Problem as problem:
        raise CheckpointError(f"{path}: {problem}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error}") from error


def load_newest(folder: Path, warn: Callable[[str], None]) -> tuple[int, Any] | None:
    """Load the newest intact checkpoint.

    Args:
        folder: folder of all checkpoints of a run.
        warn: function that is called with a message for each damaged checkpoint that is skipped.

    Returns:
        The number and the state of the checkpoint, or None if there are no checkpoints.

    Raises:
        CheckpointError: all checkpoints are damaged.
    """
    paths = _all(folder)
    for path in paths:
        try:
            return int(path.name), load(path)
        except CheckpointError as error:
            if path == paths[-1]:
                raise CheckpointError(
                    f"{error}, and there is no earlier checkpoint; remove the run with rlcl runs rm to start again"
                ) from error
            warn(f"{error}; the previous checkpoint is used")
    return None


def intact_checkpoints(folder: Path) -> Iterator[tuple[int, Any]]:
    """Yield the number and the state of each intact checkpoint, the newest first."""
    for path in _all(folder):
        try:
            yield int(path.name), load(path)
        except CheckpointError:
            continue


def remove_newer(folder: Path, number: int) -> None:
    """Remove the checkpoints that are newer than the one from which a run resumes."""
    for path in _all(folder):
        if int(path.name) > number:
            shutil.rmtree(path)


def _all(folder: Path) -> list[Path]:
    """Return the folders of all complete checkpoints, the newest first."""
    return sorted((p for p in folder.glob("*") if p.name.isdigit()), reverse=True) if folder.is_dir() else []


def _checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Flush a file to disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
