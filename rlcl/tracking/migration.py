"""Migration of run folders to the current hash of their experiment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from rlcl.errors import CheckpointError, RlclError
from rlcl.experiment import Experiment, dump, load_experiment
from rlcl.lock import LOCK, LockHeldError, locked
from rlcl.run_format import CONFIG, RUN_FOLDER
from rlcl.tracking.checksum import Checksum
from rlcl.tracking.folder import RECORDS, disk_errors, write_atomically, write_json
from rlcl.tracking.json_files import read_json
from rlcl.training import checkpoint

__all__ = ["Move", "migrate", "rewrite_config"]

HASH = re.compile(r"[0-9a-f]{12}")
FILES_WITH_HASH = ("*.json", "records.jsonl", "log.txt")  # files that may contain the hash or the folder


@frozen
class Move:
    """The migration of one experiment's folder.

    Args:
        folder: the former folder.
        target: the new folder; None if it is unknown.
        skipped: reason why the folder was not moved; empty if it was moved.
    """

    folder: Path
    target: Path | None
    skipped: str = ""


def migrate(root: Path, dry_run: bool = False) -> Iterator[Move]:
    """Move each experiment's folder whose name is not its current hash, and yield the moves.

    References to the hash in the folder and in its suite are rewritten first, and the folder is renamed last in one
    step, so that the next migration completes an interrupted one.

    Args:
        root: folder of all runs: ``<root>/<name>/<hash>/seed<k>``.
        dry_run: only yield the planned moves.

    Raises:
        RunFolderError: a folder cannot be written.
    """
    for folder in sorted(root.glob("*/*")):
        if not HASH.fullmatch(folder.name) or not any(folder.glob("seed*/config.yaml")):
            continue
        try:
            experiments = _experiments(folder)
        except (RlclError, OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            yield Move(folder, None, f"its config cannot be read: {reason}")
            continue
        target = folder.with_name(next(iter(experiments.values())).hash)
        if target != folder:
            yield Move(folder, target, _move(folder, target, experiments, dry_run))


def _experiments(folder: Path) -> Mapping[Path, Experiment]:
    """Return the experiment of each seed's folder; they differ at most in settings that the hash does not cover.

    Raises:
        ConfigError: a config cannot be read.
        RunFolderError: a run folder has a version that is not supported.
        ValueError: the seeds have different hashes.
    """
    experiments = {path.parent: load_experiment(path) for path in sorted(folder.glob(f"seed*/{CONFIG}"))}
    if len({experiment.hash for experiment in experiments.values()}) > 1:
        raise ValueError("its seeds belong to different experiments")
    return experiments


def _move(folder: Path, target: Path, experiments: Mapping[Path, Experiment], dry_run: bool) -> str:
    """Move a folder; return the reason if it is not moved, else an empty text."""
    if target.exists():
        return f"{target} exists already; remove one of the two"
    with ExitStack() as locks, disk_errors(folder):
        for seed in sorted(folder.glob("seed*")):
            try:
                locks.enter_context(locked(seed / LOCK))
            except LockHeldError as error:
                return f"{seed.name} is in use by process {error.holder}; wait for it, or stop it"
        if not dry_run:
            for seed, experiment in experiments.items():
                rewrite_config(seed, experiment)
            _rewrite_hash(folder, target.name)
            _rewrite_suite(folder.parent, folder.name, target.name)
            folder.rename(target)
            for seed in target.glob("seed*"):
                (seed / LOCK).unlink()  # its lock has moved with it
    return ""


def rewrite_config(run: Path, experiment: Experiment) -> None:
    """Replace the config of an existing run, and set the current version in its manifest."""
    write_atomically(run / CONFIG, dump(experiment))
    write_json(run / "manifest.json", {**read_json(run / "manifest.json"), "format": RUN_FOLDER.version})


def _rewrite_hash(folder: Path, new: str) -> None:
    """Replace the old hash by the new one, which has the same length, in all text files of a folder."""
    for path in sorted(path for pattern in FILES_WITH_HASH for path in folder.rglob(pattern)):
        text = (
            "" if "checkpoints" in path.parts else path.read_text()
        )  # checkpoints have checksums and do not contain it
        if folder.name in text:
            if path.name == RECORDS:
                _rewrite_checksums(path.parent, text.encode(), text.replace(folder.name, new).encode())
            write_atomically(path, text.replace(folder.name, new))


def _rewrite_checksums(run: Path, before: bytes, after: bytes) -> None:
    """Replace the checksums of the old records by those of the new ones, which have the same length.

    A checksum that does not match the old records is kept: they were modified, and remain invalid.
    """
    summary = read_json(run / "summary.json")
    if Checksum.in_summary(summary) == Checksum.of(before):
        write_json(run / "summary.json", {**summary, "records": Checksum.of(after).as_json})
    for path in (run / "checkpoints").glob("[0-9]*"):
        with suppress(CheckpointError):  # a damaged checkpoint is not used
            state = checkpoint.load(path)
            checksum = Checksum(**state.get("records", Checksum.of(b"").as_json))
            if checksum.length and checksum == Checksum.of(before[: checksum.length]):
                new = {**state, "records": Checksum.of(after[: checksum.length]).as_json}
                checkpoint.save(path.parent, int(path.name), new, keep=len(before))


def _rewrite_suite(folder: Path, old: str, new: str) -> None:
    """Replace the hash in the suite of which the experiment is a cell, if any."""
    suite = read_json(folder / "suite.json")
    if suite:
        write_json(folder / "suite.json", {**suite, "cells": _replaced(suite.get("cells", []), old, new)})
    for log in sorted(folder.glob(f"logs/{old}-seed*.*")):
        log.rename(log.with_name(log.name.replace(old, new)))


def _replaced(cells: Any, old: str, new: str) -> Any:
    return json.loads(json.dumps(cells).replace(old, new))
