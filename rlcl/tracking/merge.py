"""Merging of folders of runs, for example of machines that share no folder."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from rlcl.errors import RunFolderError
from rlcl.lock import LOCK, LockHeldError, is_held, locked
from rlcl.tracking.checksum import Checksum
from rlcl.tracking.folder import RECORDS, disk_errors, write_json
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import StoredRun, find_runs

__all__ = ["Merged", "merge_runs", "merge_suites"]


@frozen
class Merged:
    """What became of a run of the source.

    Args:
        run: path of the run, relative to both folders.
        action: whether the run was copied, was already there, or was left out.
        reason: why it was left out.
    """

    run: str
    action: Literal["copied", "already there", "left out"]
    reason: str = ""


def merge_runs(source: Path, target: Path) -> Iterator[Merged]:
    """Copy the runs of a folder to another one, and yield what became of each.

    A run that exists in both folders is the same if its records are equal. Otherwise the one that has finished, or is
    further, replaces the other one. If both have finished with different records, the run is left out.

    Args:
        source: folder of all runs; it is not changed.
        target: folder of all runs; it is created.

    Raises:
        RunFolderError: the source contains no run, or the target cannot be written.
    """
    runs = find_runs(source)
    if not runs or source.resolve() == target.resolve():
        reason = "the target itself" if runs else "no run in this folder or its subfolders"
        raise RunFolderError(f"{source}: {reason}; name other folders of runs: rlcl runs merge TARGET SOURCE...")
    for run in runs:
        name = run.name if run.path != source else "/".join(run.path.resolve().parts[-3:])
        yield _merge_run(run, name, target / name)


def _merge_run(run: StoredRun, name: str, target: Path) -> Merged:
    if run.fault:
        return Merged(name, "left out", f"{run.path} is damaged: {run.fault}")
    if is_held(run.path / LOCK):
        return Merged(name, "left out", f"a process works on {run.path}; wait for it, or stop it")
    with disk_errors(target):
        if not target.exists():
            _copy(run.path, target)
            return Merged(name, "copied")
        present = StoredRun(target, name)
        same = _records(run) == _records(present)
        if present.finished and run.finished and not same:
            reason = f"both have finished with different records; compare them with rlcl runs diff {run.path} {target}"
            return Merged(name, "left out", reason)
        if same and (present.finished or not run.finished):
            return Merged(name, "already there")
        if not (run.finished or present.fault) and (present.finished or _step(run) <= _step(present)):
            return Merged(name, "already there")
        try:
            _replace(run.path, target)
        except LockHeldError as error:
            return Merged(name, "left out", f"process {error.holder} works on {target}; wait for it, or stop it")
    return Merged(name, "copied")


def _records(run: StoredRun) -> Checksum:
    return Checksum.of_file(run.path / RECORDS)


def _step(run: StoredRun) -> int:
    return int(run.status.get("step", 0))


def _copy(source: Path, target: Path) -> None:
    """Copy a folder; the target appears only when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        shutil.copytree(source, temporary, symlinks=True, ignore=shutil.ignore_patterns(f"{LOCK}*"))
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _replace(source: Path, target: Path) -> None:
    """Replace a run by the one of the source.

    Raises:
        LockHeldError: a process works on the target.
    """
    new = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    with ExitStack() as stack:
        stack.enter_context(locked(target / LOCK))
        stack.callback(shutil.rmtree, new, ignore_errors=True)
        _copy(source, new)
        old = new.with_name(f"{new.name}.old")
        target.rename(old)
        new.rename(target)
        shutil.rmtree(old)


def merge_suites(source: Path, target: Path) -> list[str]:
    """Merge the definitions and logs of all suites of a folder of runs; return what was not merged.

    Args:
        source, target: see :func:`merge_runs`.
    """
    problems = []
    for file in sorted(source.glob("*/suite.json")):
        suite, folder = read_json(file), target / file.parent.name
        present = read_json(folder / file.name)
        if not suite:
            problems.append(f"{file} is damaged")
            continue
        if present and present.get("definition") != suite.get("definition"):
            problems.append(f"{folder / file.name} has another definition than {file}; it is kept")
            continue
        with disk_errors(folder):
            (folder / "logs").mkdir(parents=True, exist_ok=True)
            if present != suite:
                write_json(folder / file.name, _joined(present, suite))
            for log in file.parent.glob("logs/*"):
                if not (folder / "logs" / log.name).exists():
                    shutil.copy2(log, folder / "logs" / log.name, follow_symlinks=False)
    return problems


def _joined(present: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a suite with the cells of both."""
    runs = {cell.get("run") for cell in present.get("cells", ())}
    added = [cell for cell in other.get("cells", ()) if cell.get("run") not in runs]
    return {**other, **present, "cells": [*present.get("cells", ()), *added]}
