"""The folder of one run. Files are the truth; everything else is rebuilt from them.

``runs/<name>/<hash>/seed<k>/`` holds ``config.yaml`` (resolved), ``manifest.json``, ``status.json``
(replaced atomically), ``records.jsonl``, ``events.jsonl``, ``costs.jsonl``, ``tensorboard/``,
``log.txt``, ``checkpoints/`` and, in the end, ``summary.json``.
"""

from __future__ import annotations

import datetime
import errno
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field

from rlcl.errors import RunFolderError
from rlcl.lock import Held, locked
from rlcl.strict_json import json_text
from rlcl.tracking.clock import Time
from rlcl.tracking.json_files import read_json, shortened
from rlcl.tracking.jsonlines import JsonLines, read_lines
from rlcl.tracking.stamp import Stamp
from rlcl.types import Event, Record

__all__ = ["RECORDS", "RunFolder", "disk_errors", "read_events", "read_records", "write_atomically", "write_json"]

LINES = ("records", "events", "costs")
RECORDS = "records.jsonl"
FIELDS: Mapping[str, tuple[type, ...]] = {  # of a record, in JSON
    "run": (str,),
    "seed": (int,),
    "step": (int,),
    "trained_on": (int,),
    "evaluated_on": (int,),
    "metric": (str,),
    "value": (float, int, type(None)),
}
DISK = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.EFBIG,
)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns a full disk or a read-only folder into one clear error; other errors are not of its making."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK:
            raise
        raise RunFolderError(
            f"cannot write to {path}: {error.strerror or error}; free space or choose another folder with --root. "
            "What was written so far stays readable, and the same command goes on from its last checkpoint"
        ) from error


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file whole: a reader sees the old text or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replaces a JSON file whole."""
    with disk_errors(path.parent):
        write_atomically(path, json_text(content, indent=2) + "\n")


@define(eq=False)
class RunFolder:
    """One run's files, locked while it is open.

    Args:
        path: the run's own folder.

    Raises:
        RunFolderError: another process works on it, or it cannot be written.
    """

    path: Path
    _lock: ExitStack = field(init=False, factory=ExitStack)
    _files: dict[str, JsonLines] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        with disk_errors(self.path):
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except FileNotFoundError as error:  # what /proc says of a new folder
                raise PermissionError(errno.EACCES, "no folder can be made there") from error
            try:
                self._lock.enter_context(locked(self.path / "lock"))
            except Held as error:
                raise RunFolderError(
                    f"another process ({error.holder}) works on {self.path}; wait for it, or end it and run this again"
                ) from error

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def open(self, lengths: Mapping[str, int], stamp: Stamp | None = None) -> None:
        """Starts writing records, events and costs after the bytes that a checkpoint vouches for.

        Args:
            lengths: of the files, in bytes.
            stamp: of the records; a checkpoint that was saved before there were any has none.

        Raises:
            RunFolderError: they are not what the checkpoint says, and nothing was changed; or they cannot be written.
        """
        for name, length in lengths.items():
            file = self.path / f"{name}.jsonl"
            if length > (file.stat().st_size if file.is_file() else 0):
                raise RunFolderError(
                    f"{file} is shorter than its checkpoint says ({length:,} bytes), so its records are lost; "
                    f"remove {self.path} to run it anew"
                )
        if stamp is not None and (
            fault := stamp.fault(Stamp.of_file(self.path / RECORDS, stamp.length), "its checkpoint")
        ):
            raise RunFolderError(f"{self.path}: {fault}")
        with disk_errors(self.path):
            (self.path / "summary.json").unlink(missing_ok=True)  # of records that are continued now
            self._files = {name: JsonLines(self.path / f"{name}.jsonl", lengths.get(name, 0)) for name in LINES}

    def write(self, item: object) -> None:
        """Appends an event or a record; a sink."""
        if isinstance(item, Record):
            self._files["records"].append(attrs.asdict(item))
        elif isinstance(item, Event):
            self._files["events"].append({"step": item.step, "time": time.time(), **item.values})
        else:
            for file in self._files.values():
                file.flush()

    def write_cost(self, trained_on: int, step: int, spent: Time) -> None:
        """Appends the time that an experience took, which two equal runs do not agree on."""
        self._files["costs"].append({"trained_on": trained_on, "step": step, **attrs.asdict(spent)})

    def lengths(self) -> dict[str, int]:
        """Bytes of records, events and costs on the disk."""
        return {name: file.length() for name, file in self._files.items()}

    def stamp(self) -> Stamp:
        """Of the records on the disk."""
        return self._files["records"].stamp()

    def close(self) -> None:
        try:
            with disk_errors(self.path):  # what is still in a buffer may not fit either
                for file in self._files.values():
                    file.close()
        finally:
            self._lock.close()

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        write_json(self.path / name, content)

    def write_status(self, state: str, **details: Any) -> None:
        """Replaces ``status.json``: running, finished, failed or interrupted, since when, and how far."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        step = {k: v for k, v in self.status().items() if k in ("step", "experience", "of")}
        self.write_json("status.json", {"state": state, "updated": now, "pid": os.getpid(), **step, **details})

    def status(self) -> dict[str, Any]:
        """What ``status.json`` says; empty where there is none."""
        return read_json(self.path / "status.json")

    def records(self) -> tuple[Record, ...]:
        return read_records(self.path)


def read_records(path: Path) -> tuple[Record, ...]:
    """The records in a run's folder; a value that is null in its file was not finite.

    Raises:
        RunFolderError: a line is damaged, or they are not those that the run's summary was computed from.
    """
    file = path / RECORDS
    stamp = Stamp.in_summary(read_json(path / "summary.json"))
    if stamp is not None and (fault := stamp.fault(Stamp.of_file(file), "summary.json")):
        raise RunFolderError(f"{path}: {fault}")
    return tuple(_record(row, file, number) for number, row in enumerate(read_lines(file), 1))


def _record(row: Mapping[str, Any], file: Path, number: int) -> Record:
    if row.keys() != FIELDS.keys():
        missing, more = sorted(FIELDS.keys() - row.keys()), sorted(row.keys() - FIELDS.keys())
        what = f"{missing[0]} is missing" if missing else f"{more[0]!a} is no column of a record"
    else:
        wrong = [name for name, kinds in FIELDS.items() if type(row[name]) not in kinds]
        if not wrong:
            return Record(**{**row, "value": math.nan if row["value"] is None else row["value"]})
        what = f"{wrong[0]} is {shortened(row[wrong[0]])}"
    raise RunFolderError(f"{file}:{number} is damaged: {what}; remove the run with rlcl runs rm and run it again")


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events in a run's folder, with step and time; a value that is null in its file was not finite."""
    for row in read_lines(path / "events.jsonl"):
        yield {name: math.nan if value is None else value for name, value in row.items()}
