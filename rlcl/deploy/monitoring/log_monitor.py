"""Monitor of a deployment's log: reads new requests, writes ``drift.jsonl`` and ``monitor.json``."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Any

import attrs
from attrs import define, field

from rlcl.deploy.bundle import SUMS, Bundle
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.log import RequestLog
from rlcl.deploy.monitoring.monitor import BLOCK, DriftLine, Monitor, MonitorSettings
from rlcl.deploy.monitoring.reference import KINDS, ReferenceSample
from rlcl.errors import BundleError
from rlcl.formats import Format, parse_json
from rlcl.strict_json import json_text
from rlcl.tracking.folder import write_atomically

__all__ = ["LogMonitor", "find_reference", "read_lines"]

FORMAT = Format("a monitor's state", 1, "Read it with the rlcl that wrote it.")
LINES_PER_WRITE = 50  # lines that are computed before they are written to the disk


def _ignore(line: DriftLine) -> None:
    """Do nothing with an alarm."""


@define(eq=False)
class LogMonitor:
    """A monitor that continues where the previous one on the same deployment stopped.

    :meth:`read_new` may be called any number of times. Only one monitor of a deployment can be open at a time. A log
    that has replaced another one is read from its beginning, after a line that reports it.

    Lines are written before the state, which contains the number of valid bytes in ``drift.jsonl``. If a process is
    killed, the next one truncates the file to that size and repeats the lost part. Only an alarm's command may run
    twice.

    Args:
        deployment: deployment to monitor.
        settings: settings of the monitor, the same as in earlier calls on this deployment.
        on_alarm: function that is called with each alarm's line.

    Raises:
        BundleError: the bundle, its reference or the saved state is damaged; the state was written with other
            settings; or another monitor is running.
    """

    deployment: Deployment
    settings: MonitorSettings = field(factory=MonitorSettings)
    on_alarm: Callable[[DriftLine], None] = _ignore
    _monitor: Monitor = field(init=False)
    _log: str = field(init=False, default="")  # id of the log that the numbers refer to
    _feedback: int = field(init=False, default=0)
    _bytes: int = field(init=False, default=0)
    _lock: ExitStack = field(init=False, factory=ExitStack)

    def __attrs_post_init__(self) -> None:
        current = self.deployment.current()
        reference = ReferenceSample.read(current)
        message = "another monitor (process {holder}) is running in {folder}; wait for it, or stop it"
        self._lock.enter_context(self.deployment.hold_lock("monitor.lock.json", message))
        self._monitor = Monitor(
            lambda digest: reference if digest == current.digest else find_reference(self.deployment, digest),
            self.settings,
        )
        try:
            if self.state.is_file():
                self._load()
        except BaseException:
            self.close()
            raise

    @property
    def state(self) -> Path:
        """File of the monitor's state and its position in the log: ``BUNDLE.live/monitor.json``."""
        return self.deployment.folder / "monitor.json"

    def read_new(self) -> list[DriftLine]:
        """Process the part of the log that is new since the last call.

        Returns:
            The lines that were written.

        Raises:
            BundleError: there is no log yet, it is damaged, or there is no disk space left.
        """
        written: list[DriftLine] = []
        with closing(RequestLog.open(self.deployment.log)) as log, self._open_drift_file() as file:
            waiting: list[DriftLine] = []
            try:
                for lines in self._batches(log):
                    waiting += lines
                    if len(waiting) >= LINES_PER_WRITE:
                        self._write(file, waiting)
                        written, waiting = written + waiting, []
            except sqlite3.Error as error:
                raise BundleError(f"{self.deployment.log} is damaged: {error}; move it away to start over") from error
            if waiting:
                self._write(file, waiting)
        return written + waiting

    def close(self) -> None:
        """Release the lock, so that another monitor can be opened."""
        self._lock.close()

    def _batches(self, log: RequestLog) -> Iterator[list[DriftLine]]:
        """Yield lines in batches; after each batch, the monitor's state is consistent and can be saved."""
        if not log.has_id(self._log):
            line, self._log, self._feedback = {"line": "log", "before": self._log, "id": log.id}, log.id, 0
            self._monitor.begin_log()
            yield [line]
        self._log = log.id
        for page in log.pages(after=self._monitor.last_request):
            yield list(self._monitor.observe(page))
        while True:
            last, block = log.first_feedback(self._feedback, BLOCK)
            if not block:
                return
            self._feedback = last
            yield [line for page in block for line in self._monitor.observe_feedback(page)]

    def _write(self, file: IO[str], lines: list[DriftLine]) -> None:
        file.write("".join(json_text(line) + "\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
        for line in lines:
            if line["line"] == "alarm":
                self.on_alarm(line)
        self._bytes = file.tell()
        state = {
            "format": FORMAT.version,
            "settings": attrs.asdict(self.settings),
            "bytes": self._bytes,
            "log": self._log,
            "feedback": self._feedback,
            **self._monitor.state_dict(),
        }
        write_atomically(self.state, json_text(state) + "\n")

    def _load(self) -> None:
        remedy = f"move it and {self.deployment.drift.name} away to start over"
        try:
            state: dict[str, Any] = parse_json(self.state.read_text())
            if fault := FORMAT.version_fault(state["format"]):
                raise ValueError(fault)
            saved_settings = MonitorSettings(**state["settings"])
            self._bytes, self._feedback = int(state["bytes"]), int(state["feedback"])
            self._log = str(state.get("log", ""))
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
            raise BundleError(f"{self.state} is damaged ({error}); {remedy}") from error
        if saved_settings != self.settings:
            values = ", ".join(f"{name} {value:g}" for name, value in attrs.asdict(saved_settings).items())
            raise BundleError(f"{self.state} was written with {values}; use the same settings, or {remedy}")
        try:
            self._monitor.load_state_dict(state)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise BundleError(f"{self.state} is damaged ({error}); {remedy}") from error

    @contextmanager
    def _open_drift_file(self) -> Iterator[IO[str]]:
        """Open ``drift.jsonl`` for appending, truncated to the size in the saved state."""
        path = self.deployment.drift
        with path.open("a") as file:
            if self._bytes < path.stat().st_size:
                file.truncate(self._bytes)
            file.seek(0, os.SEEK_END)
            yield file


def read_lines(deployment: Deployment) -> list[DriftLine]:
    """Return all lines of ``drift.jsonl``, or an empty list if there is no such file.

    Raises:
        BundleError: a line has another form.
    """
    path = deployment.drift
    if not path.is_file():
        return []
    lines: list[DriftLine] = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        try:
            line = parse_json(text)
            if not isinstance(line, dict) or line.get("line") not in ("window", "feedback", "alarm", "log"):
                raise ValueError("expected a line of a monitor")
            if not _is_complete(line):
                raise ValueError("numbers are missing in this line")
        except ValueError as error:
            raise BundleError(f"{path}:{number}: {error}; move it and monitor.json away to start over") from error
        lines.append(line)
    return lines


def _is_complete(line: DriftLine) -> bool:
    """Return whether a line has its requests and times, and the numbers that the page shows."""
    if line["line"] == "log":
        return True
    ranges = (line.get("requests"), line.get("times"))
    results = [line[kind] for kind in KINDS if kind in line] if line["line"] == "window" else []
    keys: tuple[str, ...] = ("statistic", "p", "threshold", "count")
    if line["line"] == "alarm":
        keys, results = (("statistic", "threshold", "count"), [line])
    if line["line"] == "feedback":
        keys, results = (("answers", "left_out"), [line])
    return all(isinstance(ends, list) and len(ends) == 2 and all(map(_is_number, ends)) for ends in ranges) and all(
        isinstance(result, dict) and all(_is_number(result.get(key)) for key in keys) for result in results
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def find_reference(deployment: Deployment, digest: str) -> ReferenceSample | None:
    """Return the reference of one of a deployment's bundles by its digest, or None if the bundle no longer exists."""
    folders = [deployment.bundle, *sorted(deployment.candidates.glob("*/"))]
    for folder in folders:
        if (folder / SUMS).is_file():
            try:
                bundle = Bundle.open(folder)
                if bundle.digest == digest:
                    return ReferenceSample.read(bundle)
            except BundleError:
                continue  # a candidate that is being written, or a damaged one, is not deployed
    return None
