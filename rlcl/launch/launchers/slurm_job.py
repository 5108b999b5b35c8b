"""What runs within a Slurm job: some cells at the same time, and messages about them in a shared folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from rlcl.launch.launchers.processes import Processes
from rlcl.launch.launchers.work import job_from_json
from rlcl.tracking.folder import write_atomically
from rlcl.tracking.json_files import read_json
from rlcl.types import Started

__all__ = ["Messages", "SlurmJob"]

REPORT_SECONDS = 1.0
SETTLE_SECONDS = 1.0  # after which Slurm shows that it takes the machine
END_SECONDS = 60.0  # in which Slurm ends a job that it requeues
STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)


@define
class Messages:
    """Small files in a shared folder, by which the grid and the Slurm jobs inform each other.

    Args:
        folder: the folder; it is created.
    """

    folder: Path

    def send(self, token: str, kind: str, **content: Any) -> None:
        """Write a message.

        Args:
            token: id of a submission of a cell.
            kind: ``started``, ``ended`` or ``stop``.
            content: JSON values.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / f"{token}.{kind}", json.dumps(content))

    def names(self) -> set[str]:
        """Return the names of all messages: ``token.kind``."""
        with suppress(FileNotFoundError):
            return {entry.name for entry in os.scandir(self.folder) if not entry.name.startswith(".")}
        return set()

    def read(self, token: str, kind: str) -> Mapping[str, Any]:
        """Return the content of a message; empty if there is none."""
        return read_json(self.folder / f"{token}.{kind}", kind)

    def remove(self, token: str) -> None:
        """Remove all messages of a submission."""
        for kind in ("started", "ended", "stop"):
            (self.folder / f"{token}.{kind}").unlink(missing_ok=True)


@define(eq=False)
class SlurmJob:
    """Function that submitit calls in a Slurm job.

    Before the time limit, submitit calls :meth:`checkpoint` and requeues the job, which then calls the function again.
    If Slurm takes the machine for a job with a higher priority, the cells receive SIGTERM and save a checkpoint, and
    Slurm requeues the job.

    Args:
        jobs: the jobs of the cells as JSON values, by the token of their submission.
        messages: folder of the messages.
        path, arguments: ``sys.path`` and ``sys.argv`` of the grid's process.
    """

    jobs: Mapping[str, Mapping[str, Any]]
    messages: Messages
    path: Sequence[str]
    arguments: Sequence[str]
    _tokens: dict[str, str] = field(init=False, factory=dict)  # of the running cells, by name
    _stopping: bool = field(init=False, default=False)
    _loop: threading.Thread | None = field(init=False, default=None)

    def __call__(self) -> None:
        """Run the cells that have not ended yet."""
        sys.path.extend(entry for entry in self.path if entry not in sys.path)
        sys.argv[:] = self.arguments
        processes, interrupted = Processes(), list[str]()
        loop = threading.Thread(target=lambda: interrupted.extend(self._run(processes)))
        self._loop, self._stopping = loop, False
        loop.start()
        try:
            while loop.is_alive():  # a signal handler may run here, and wait for the thread too
                time.sleep(0.1)
        except KeyboardInterrupt:  # how submitit's local executor cancels a job, which it kills after a second
            for name in [*self._tokens]:
                processes.stop(name, at_once=True)
            loop.join()
            raise
        finally:
            processes.close()
        self._loop = None
        if interrupted and not self._stopping:
            self._give_back(interrupted)

    def checkpoint(self) -> Any:
        """Let all cells save a checkpoint and end, and return what submitit submits again."""
        from submitit.helpers import DelayedSubmission

        self._stopping = True
        while self._loop is not None and self._loop.is_alive():
            time.sleep(0.1)
        self._loop = None
        return DelayedSubmission(SlurmJob(self.jobs, self.messages, self.path, self.arguments))

    def _run(self, processes: Processes) -> Iterator[str]:
        """Run the cells; yield the tokens of those that were ended by others than the grid."""
        for token, content in self.jobs.items():
            if not self.messages.read(token, "ended"):
                job = job_from_json(content)
                self._tokens[job.name] = token
                processes.start(job)
        told: set[str] = set()
        while self._tokens:
            for report in processes.reports(REPORT_SECONDS):
                token = self._tokens[report.name]
                if isinstance(report, Started):
                    self.messages.send(token, "started", host=os.uname().nodename)
                    continue
                del self._tokens[report.name]
                if report.status in STOPPED and (self._stopping or not self.messages.read(token, "stop")):
                    yield token
                else:
                    self.messages.send(token, "ended", status=report.status)
            self._pass_on_stops(processes, told)

    def _pass_on_stops(self, processes: Processes, told: set[str]) -> None:
        """Stop the cells that the grid wants to stop, and all before the end of the Slurm job."""
        for name, token in self._tokens.items():
            stop = {"at_once": False} if self._stopping else self.messages.read(token, "stop")
            kind = f"{token} {stop.get('at_once')}"
            if stop and kind not in told:
                told.add(kind)
                processes.stop(name, at_once=bool(stop.get("at_once")))

    def _give_back(self, interrupted: Sequence[str]) -> None:
        """End the Slurm job after others have interrupted its cells, so that it is requeued.

        Slurm requeues a preempted job itself. If only a signal was sent, the job is still running for Slurm.
        """
        time.sleep(SETTLE_SECONDS)
        try:
            job = os.environ["SLURM_JOB_ID"]
            if "RUNNING" not in _answer("squeue", "--noheader", "--format=%T", "--jobs", job):
                return
            _answer("scontrol", "requeue", job)
            time.sleep(END_SECONDS)
        except (OSError, subprocess.SubprocessError, KeyError):  # not in a Slurm job
            for token in interrupted:
                self.messages.send(token, "ended", status=128 + signal.SIGTERM)


def _answer(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
