"""Runs under an experiment's hash of before, moved to where today's hash looks for them."""

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
from rlcl.lock import Held, locked
from rlcl.run_format import CONFIG, RUN_FOLDER
from rlcl.tracking.folder import RECORDS, disk_errors, write_atomically, write_json
from rlcl.tracking.json_files import read_json
from rlcl.tracking.stamp import Stamp
from rlcl.training import checkpoint

__all__ = ["Move", "migrate", "rewrite_config"]

HASH = re.compile(r"[0-9a-f]{12}")
NAMED_IN = ("*.json", "records.jsonl", "log.txt")  # that may name the hash or the folder


@frozen
class Move:
    """What became of one experiment's folder.

    Args:
        folder: where it was.
        target: where it belongs; None where that cannot be told.
        skipped: why it was left; empty where it was moved.
    """

    folder: Path
    target: Path | None
    skipped: str = ""


def migrate(root: Path, dry_run: bool = False) -> Iterator[Move]:
    """Moves every experiment's folder whose name is not its hash of today.

    What names the hash within the folder and in its suite is rewritten first, so that an interrupted migration is
    finished by the next one; the folder is renamed last, in one step.

    Args:
        root: of all runs: ``<root>/<name>/<hash>/seed<k>``.
        dry_run: change nothing.

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
            yield Move(folder, target, _moved(folder, target, experiments, dry_run))


def _experiments(folder: Path) -> Mapping[Path, Experiment]:
    """The experiment of each seed's folder, which is the same but for what its hash leaves out.

    Raises:
        ConfigError: one cannot be read.
        RunFolderError: one is of a version that cannot be read.
        ValueError: they do not agree.
    """
    found = {path.parent: load_experiment(path) for path in sorted(folder.glob(f"seed*/{CONFIG}"))}
    if len({experiment.hash for experiment in found.values()}) > 1:
        raise ValueError("its seeds are of different experiments")
    return found


def _moved(folder: Path, target: Path, experiments: Mapping[Path, Experiment], dry_run: bool) -> str:
    """Moves a folder; why it was left, else nothing."""
    if target.exists():
        return f"{target} is there already; remove one of the two"
    with ExitStack() as held, disk_errors(folder):
        for seed in sorted(folder.glob("seed*")):
            try:
                held.enter_context(locked(seed / "lock"))
            except Held as error:
                return f"{seed.name} is being worked on ({error.holder}); wait for it, or end it"
        if not dry_run:
            for seed, experiment in experiments.items():
                rewrite_config(seed, experiment)
            _rewrite(folder, target.name)
            _rewrite_suite(folder.parent, folder.name, target.name)
            folder.rename(target)
    return ""


def rewrite_config(run: Path, experiment: Experiment) -> None:
    """Writes the config of a run that is there already, and that it is of today's version."""
    write_atomically(run / CONFIG, dump(experiment))
    write_json(run / "manifest.json", {**read_json(run / "manifest.json"), "format": RUN_FOLDER.version})


def _rewrite(folder: Path, new: str) -> None:
    """Puts the new hash, which is as long as the old one, in the place of the old one in all of a folder's texts."""
    for path in sorted(path for pattern in NAMED_IN for path in folder.rglob(pattern)):
        text = "" if "checkpoints" in path.parts else path.read_text()  # those are under a checksum, and never name it
        if folder.name in text:
            if path.name == RECORDS:
                _stamp(path.parent, text.encode(), text.replace(folder.name, new).encode())
            write_atomically(path, text.replace(folder.name, new))


def _stamp(run: Path, before: bytes, after: bytes) -> None:
    """Puts the stamp of the new records, which are as long as the old ones, in the place of the old one.

    One that is not of the old records stays: they were altered, and are refused as they were.
    """
    summary = read_json(run / "summary.json")
    if Stamp.in_summary(summary) == Stamp.of(before):
        write_json(run / "summary.json", {**summary, "records": Stamp.of(after).as_json})
    for path in (run / "checkpoints").glob("[0-9]*"):
        with suppress(CheckpointError):  # of a damaged one nothing is vouched for
            state = checkpoint.load(path)
            kept = Stamp(**state.get("records", Stamp.of(b"").as_json))
            if kept.length and kept == Stamp.of(before[: kept.length]):
                new = {**state, "records": Stamp.of(after[: kept.length]).as_json}
                checkpoint.save(path.parent, int(path.name), new, keep=len(before))


def _rewrite_suite(folder: Path, old: str, new: str) -> None:
    """The same in the suite that the experiment is a cell of, where there is one."""
    suite = read_json(folder / "suite.json")
    if suite:
        write_json(folder / "suite.json", {**suite, "cells": _renamed(suite.get("cells", []), old, new)})
    for log in sorted(folder.glob(f"logs/{old}-seed*.txt")):
        log.rename(log.with_name(log.name.replace(old, new)))


def _renamed(cells: Any, old: str, new: str) -> Any:
    return json.loads(json.dumps(cells).replace(old, new))
