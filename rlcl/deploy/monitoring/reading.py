"""A monitor at work on a deployment's log: what is new since last time, ``drift.jsonl`` and ``monitor.json``."""

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
from rlcl.deploy.log import Log
from rlcl.deploy.monitoring.monitor import BLOCK, Line, Monitor, Settings
from rlcl.deploy.monitoring.reference import KINDS, Reference
from rlcl.errors import BundleError
from rlcl.formats import Format, parsed
from rlcl.strict_json import json_text
from rlcl.tracking.folder import write_atomically

__all__ = ["Reading", "read_lines", "reference_of"]

FORMAT = Format("a monitor's state", 1, "Read it with the rlcl that wrote it.")
AT_ONCE = 50  # lines, which are on the disk before the next ones are computed


def _ignore(line: Line) -> None:
    """What is done with an alarm where nothing is to be done."""


@define(eq=False)
class Reading:
    """Goes on where it stopped: once with :meth:`new`, or as often as one likes; the only one while it is open.

    A log that takes another one's place is read from its beginning, after a line that says so.

    Lines are written before the state that says how many bytes of them count, so whatever moment a process is killed
    at, the next one cuts the file back and goes on as if nothing had happened; only an alarm's command may run twice.

    Args:
        deployment: what is watched.
        settings: how closely; the same as last time.
        on_alarm: gets each alarm's line.

    Raises:
        BundleError: the bundle, its reference or the state of last time is damaged, or was begun with other settings;
            or another monitor is at work.
    """

    deployment: Deployment
    settings: Settings = field(factory=Settings)
    on_alarm: Callable[[Line], None] = _ignore
    _monitor: Monitor = field(init=False)
    _log: str = field(init=False, default="")  # the id of the log that numbers are of
    _feedback: int = field(init=False, default=0)
    _bytes: int = field(init=False, default=0)
    _lock: ExitStack = field(init=False, factory=ExitStack)

    def __attrs_post_init__(self) -> None:
        current = self.deployment.current()
        reference = Reference.read(current)
        told = "another monitor (process {holder}) is at work in {folder}; wait for it, or end it"
        self._lock.enter_context(self.deployment.held("monitor.lock", told))
        self._monitor = Monitor(
            lambda digest: reference if digest == current.digest else reference_of(self.deployment, digest),
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
        """What was read up to where: ``BUNDLE.live/monitor.json``, replaced atomically."""
        return self.deployment.folder / "monitor.json"

    def new(self) -> list[Line]:
        """Looks at what was logged since last time.

        Returns:
            The lines that were written.

        Raises:
            BundleError: there is no log yet, or it is damaged, or there is no place left.
        """
        made: list[Line] = []
        with closing(Log.open(self.deployment.log)) as log, self._drift() as file:
            waiting: list[Line] = []
            try:
                for lines in self._batches(log):
                    waiting += lines
                    if len(waiting) >= AT_ONCE:
                        self._write(file, waiting)
                        made, waiting = made + waiting, []
            except sqlite3.Error as error:
                raise BundleError(f"{self.deployment.log} is damaged: {error}; move it away to begin anew") from error
            if waiting:
                self._write(file, waiting)
        return made + waiting

    def close(self) -> None:
        """Lets another monitor go on."""
        self._lock.close()

    def _batches(self, log: Log) -> Iterator[list[Line]]:
        """Lines, as many at once as belong together: what the state says holds whenever some have been given."""
        if not log.continues(self._log):
            told, self._log, self._feedback = {"line": "log", "before": self._log, "id": log.id}, log.id, 0
            self._monitor.begin_log()
            yield [told]
        self._log = log.id
        for page in log.pages(after=self._monitor.seen):
            yield list(self._monitor.observe(page))
        while True:
            last, block = log.arrived(self._feedback, BLOCK)
            if not block:
                return
            self._feedback = last
            yield [line for page in block for line in self._monitor.judge(page)]

    def _write(self, file: IO[str], lines: list[Line]) -> None:
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
        remedy = f"move it and {self.deployment.drift.name} away to begin anew"
        try:
            state: dict[str, Any] = parsed(self.state.read_text())
            if refused := FORMAT.refusal(state["format"]):
                raise ValueError(refused)
            begun = Settings(**state["settings"])
            self._bytes, self._feedback = int(state["bytes"]), int(state["feedback"])
            self._log = str(state.get("log", ""))
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
            raise BundleError(f"{self.state} is damaged ({error}); {remedy}") from error
        if begun != self.settings:
            told = ", ".join(f"{name} {value:g}" for name, value in attrs.asdict(begun).items())
            raise BundleError(f"{self.state} was begun with {told}; use the same, or {remedy}")
        try:
            self._monitor.load_state_dict(state)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise BundleError(f"{self.state} is damaged ({error}); {remedy}") from error

    @contextmanager
    def _drift(self) -> Iterator[IO[str]]:
        """``drift.jsonl``, cut back to what the state says of it."""
        path = self.deployment.drift
        with path.open("a") as file:
            if self._bytes < path.stat().st_size:
                file.truncate(self._bytes)
            file.seek(0, os.SEEK_END)
            yield file


def read_lines(deployment: Deployment) -> list[Line]:
    """All lines of ``drift.jsonl``; none where there is no such file.

    Raises:
        BundleError: a line is none.
    """
    path = deployment.drift
    if not path.is_file():
        return []
    lines: list[Line] = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        try:
            line = parsed(text)
            if not isinstance(line, dict) or line.get("line") not in ("window", "feedback", "alarm", "log"):
                raise ValueError("no line of a monitor")
            if not _is_whole(line):
                raise ValueError("a line of a monitor that lacks numbers")
        except ValueError as error:
            raise BundleError(f"{path}:{number}: {error}; move it and monitor.json away to begin anew") from error
        lines.append(line)
    return lines


def _is_whole(line: Line) -> bool:
    """Whether a line has the requests that it is about, and the numbers that are shown of them."""
    if line["line"] == "log":
        return True
    ends = (line.get("requests"), line.get("times"))
    findings = [line[kind] for kind in KINDS if kind in line] if line["line"] == "window" else []
    wanted: tuple[str, ...] = ("statistic", "p", "threshold", "count")
    if line["line"] == "alarm":
        wanted, findings = (("statistic", "threshold", "count"), [line])
    if line["line"] == "feedback":
        wanted, findings = (("answers", "left_out"), [line])
    return all(isinstance(end, list) and len(end) == 2 and all(map(_is_number, end)) for end in ends) and all(
        isinstance(found, dict) and all(_is_number(found.get(name)) for name in wanted) for found in findings
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def reference_of(deployment: Deployment, digest: str) -> Reference | None:
    """The reference of a deployment's bundle by its digest, if it is still there."""
    folders = [deployment.bundle, *sorted(deployment.candidates.glob("*/"))]
    for folder in folders:
        if (folder / SUMS).is_file():
            try:
                bundle = Bundle.open(folder)
                if bundle.digest == digest:
                    return Reference.read(bundle)
            except BundleError:
                continue  # a candidate that is being written, or a damaged one, answers nobody
    return None
