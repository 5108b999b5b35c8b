"""The folder of one run; tables, figures and indexes are computed from its files.

``runs/<name>/<hash>/seed<k>/`` contains ``config.yaml`` (resolved), ``manifest.json``, ``status.json``
(replaced atomically), ``records.jsonl``, ``events.jsonl``, ``costs.jsonl``, ``tensorboard/``,
``log.txt``, ``checkpoints/`` and, when the run has finished, ``summary.json`` and, with baselines, ``baselines.jsonl``.
"""

from __future__ import annotations

import datetime
import errno
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field

from rlcl.errors import RunFolderError
from rlcl.lock import LOCK, Lock, LockHeldError, LockLostError, lease_seconds, locked
from rlcl.strict_json import json_text
from rlcl.tracking.checksum import Checksum
from rlcl.tracking.clock import ElapsedTime
from rlcl.tracking.json_files import read_json, short_repr
from rlcl.tracking.jsonlines import JsonLines, read_lines
from rlcl.types import Event, Record

__all__ = [
    "BASELINES",
    "RECORDS",
    "RunFolder",
    "RunFolderInUseError",
    "disk_errors",
    "read_costs",
    "read_events",
    "read_records",
    "read_results",
    "write_atomically",
    "write_baselines",
    "write_json",
]

LINE_FILES = ("records", "events", "costs")
RECORDS = "records.jsonl"
BASELINES = "baselines.jsonl"
RECORD_FIELDS: Mapping[str, tuple[type, ...]] = {  # JSON types of a record
    "run": (str,),
    "seed": (int,),
    "step": (int,),
    "trained_on": (int,),
    "evaluated_on": (int,),
    "metric": (str,),
    "value": (float, int, type(None)),
}
COSTS = "costs.jsonl"
COST_FIELDS: Mapping[str, tuple[type, ...]] = {
    "trained_on": (int,),
    "step": (int,),
    "seconds": (float, int),
    "cpu_seconds": (float, int),
}
DISK_ERRORS = (
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
    """Convert errors of the disk, such as a full disk or a read-only folder, to a RunFolderError with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise RunFolderError(
            f"cannot write to {path}: {error.strerror or error}; free space or choose another folder with --root. "
            "Files written so far remain readable, and the same command resumes from the last checkpoint"
        ) from error


def write_atomically(path: Path, text: str) -> None:
    """Replace a file atomically: a reader sees either the old text or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file atomically."""
    with disk_errors(path.parent):
        write_atomically(path, json_text(content, indent=2) + "\n")


class RunFolderInUseError(RunFolderError):
    """Raised when another process uses a run's folder."""

    exit_status = os.EX_TEMPFAIL


@define(eq=False)
class RunFolder:
    """The files of one run; the folder is locked while this object is open.

    Args:
        path: the run's folder.

    Raises:
        RunFolderError: another process uses the folder, or it cannot be written.
    """

    path: Path
    _lock: Lock = field(init=False)
    _closing: ExitStack = field(init=False, factory=ExitStack)
    _files: dict[str, JsonLines] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        with disk_errors(self.path):
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except FileNotFoundError as error:  # /proc raises it for a new folder
                raise PermissionError(errno.EACCES, "no folder can be created there") from error
            try:
                self._lock = self._closing.enter_context(locked(self.path / LOCK))
            except LockHeldError as error:
                raise RunFolderInUseError(
                    f"another process ({error.holder}) works on {self.path}; wait for it, or stop it and repeat the "
                    "command"
                ) from error
            except OSError as error:
                if error.errno in DISK_ERRORS:
                    raise
                raise RunFolderError(
                    f"{self.path / LOCK} cannot be used as a lock: {error.strerror or error}; remove it"
                ) from error

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def open(self, lengths: Mapping[str, int], checksum: Checksum | None = None) -> None:
        """Open records, events and costs for writing after the bytes that a checkpoint covers.

        Args:
            lengths: lengths of the files at the checkpoint, in bytes, by name.
            checksum: checksum of the records at the checkpoint; None for a checkpoint of a former version.

        Raises:
            RunFolderError: the files do not match the checkpoint (and are not changed), or they cannot be written.
        """
        for name, length in lengths.items():
            file = self.path / f"{name}.jsonl"
            if length > (file.stat().st_size if file.is_file() else 0):
                raise RunFolderError(
                    f"{file} is shorter than at its checkpoint ({length:,} bytes), so its content is lost; "
                    f"remove {self.path} and run it again"
                )
        if checksum is not None and (
            fault := checksum.mismatch(Checksum.of_file(self.path / RECORDS, checksum.length), "its checkpoint")
        ):
            raise RunFolderError(f"{self.path}: {fault}")
        with disk_errors(self.path):
            (self.path / "summary.json").unlink(missing_ok=True)  # a summary of the records before they are continued
            self._files = {name: JsonLines(self.path / f"{name}.jsonl", lengths.get(name, 0)) for name in LINE_FILES}

    def write(self, item: object) -> None:
        """Append an event or a record; flush the files for any other item. This method is a sink.

        Raises:
            RunFolderError: another process has taken over the folder.
        """
        with self._ownership():
            self._lock.confirm()
        if isinstance(item, Record):
            self._files["records"].append(attrs.asdict(item))
        elif isinstance(item, Event):
            self._files["events"].append({"step": item.step, "time": time.time(), **item.values})
        else:
            for file in self._files.values():
                file.flush()

    def write_cost(self, trained_on: int, step: int, spent: ElapsedTime) -> None:
        """Append the time of an experience; it is stored apart from the records, because it is not reproducible."""
        self._files["costs"].append({"trained_on": trained_on, "step": step, **attrs.asdict(spent)})

    def lengths(self) -> dict[str, int]:
        """Return the lengths of records, events and costs on the disk, in bytes, before a checkpoint.

        Raises:
            RunFolderError: another process has taken over the folder.
        """
        with self._ownership():
            self._lock.check()
        return {name: file.length() for name, file in self._files.items()}

    def checksum(self) -> Checksum:
        """Return the checksum of the records on the disk."""
        return self._files["records"].checksum()

    @contextmanager
    def _ownership(self) -> Iterator[None]:
        """Stop writing to a folder that another process has taken over.

        Raises:
            RunFolderError: the lock was lost; what was not on the disk yet is not written any more.
        """
        try:
            yield
        except LockLostError as error:
            for file in self._files.values():
                file.discard()
            self._files = {}
            raise RunFolderError(
                f"{self.path} was taken over by another process or removed: this process was suspended or had no "
                f"connection to the folder for more than {lease_seconds():g} s. The other process continues the run"
            ) from error

    def close(self) -> None:
        try:
            with disk_errors(self.path):  # writing the buffers may fail, too
                for file in self._files.values():
                    file.close()
        finally:
            self._closing.close()

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        with self._ownership():
            self._lock.check()
        write_json(self.path / name, content)

    def write_status(self, state: str, **details: Any) -> None:
        """Replace ``status.json``: state (running, finished, failed or interrupted), time, process and progress."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        step = {k: v for k, v in self.status().items() if k in ("step", "experience", "of")}
        holder = self._lock.holder
        process = {"host": holder.host, "machine": holder.machine, "pid": os.getpid()}
        self.write_json("status.json", {"state": state, "updated": now, **process, **step, **details})

    def status(self) -> dict[str, Any]:
        """Return the content of ``status.json``; empty if it does not exist."""
        return read_json(self.path / "status.json")

    def records(self) -> tuple[Record, ...]:
        return read_records(self.path)

    def results(self) -> tuple[Record, ...]:
        """See :func:`read_results`."""
        return read_results(self.path)


def read_records(path: Path) -> tuple[Record, ...]:
    """Return the records in a run's folder; a null value in the file becomes NaN.

    Raises:
        RunFolderError: a line is damaged, or the records do not match the checksum in the run's summary.
    """
    file = path / RECORDS
    checksum = Checksum.in_summary(read_json(path / "summary.json"))
    if checksum is not None and (fault := checksum.mismatch(Checksum.of_file(file), "summary.json")):
        raise RunFolderError(f"{path}: {fault}")
    return tuple(_record(row, file, number) for number, row in enumerate(read_lines(file), 1))


def read_results(path: Path) -> tuple[Record, ...]:
    """Return the records in a run's folder and those of its baselines, from which its metrics are computed.

    Raises:
        RunFolderError: see :func:`read_records`.
    """
    file = path / BASELINES
    return (*read_records(path), *(_record(row, file, number) for number, row in enumerate(read_lines(file), 1)))


def write_baselines(path: Path, records: Iterable[Record]) -> None:
    """Write the records of a run's baselines to its folder; see ``evaluation.baselines``."""
    lines = [json_text(attrs.asdict(record), separators=(",", ":")) + "\n" for record in records]
    with disk_errors(path):
        write_atomically(path / BASELINES, "".join(lines))


def _record(row: Mapping[str, Any], file: Path, number: int) -> Record:
    _check_fields(row, RECORD_FIELDS, file, number)
    return Record(**{**row, "value": math.nan if row["value"] is None else row["value"]})


def _check_fields(row: Mapping[str, Any], fields: Mapping[str, tuple[type, ...]], file: Path, number: int) -> None:
    """Check that a line has exactly these fields, with values of these types.

    Raises:
        RunFolderError: it does not; the message names the file, the line and the field.
    """
    if row.keys() != fields.keys():
        missing, unknown = sorted(fields.keys() - row.keys()), sorted(row.keys() - fields.keys())
        fault = f"{missing[0]} is missing" if missing else f"{unknown[0]!a} is unknown"
    else:
        invalid = [name for name, kinds in fields.items() if type(row[name]) not in kinds]
        if not invalid:
            return
        fault = f"{invalid[0]} is {short_repr(row[invalid[0]])}"
    raise RunFolderError(f"{file}:{number} is damaged: {fault}; remove the run with rlcl runs rm and run it again")


def read_costs(path: Path) -> list[dict[str, Any]]:
    """Return the times in a run's folder, one row per finished experience; see :meth:`RunFolder.write_cost`.

    Raises:
        RunFolderError: a line is damaged.
    """
    rows = list(read_lines(path / COSTS))
    for number, row in enumerate(rows, 1):
        _check_fields(row, COST_FIELDS, path / COSTS, number)
    return rows


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events in a run's folder, with step and time; a null value in the file becomes NaN."""
    for row in read_lines(path / "events.jsonl"):
        yield {name: math.nan if value is None else value for name, value in row.items()}
