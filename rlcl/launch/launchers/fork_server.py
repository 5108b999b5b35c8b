"""Server process that preloads slow imports and forks a process for each job.

Importing torch and its dependencies takes seconds; a fork takes milliseconds and shares the memory.
The server itself computes nothing. Therefore it has no threads, no used random generator and no
device when it forks, and every job starts from the same state as in a new process.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from attrs import define, field

from rlcl.launch.launchers.work import job_from_json, perform

__all__ = ["ForkServer"]

# Modules that most runs import and that take more than 0.1 s to import. Libraries that only some learners need
# (Avalanche, Stable-Baselines3, torchvision) are imported by the jobs that use them.
PRELOADED = (
    "torch._dynamo",
    "torch.utils.tensorboard",
    "sklearn.datasets",
    "matplotlib.figure",
    "rlcl.launch.seeds",
    "rlcl.learners.gradient",
)
POLL_SECONDS = 0.02  # interval between two checks for finished jobs
GRACE_SECONDS = 30.0  # time to save a checkpoint after the grid's process has died


@define
class ForkServer:
    """Server that reads jobs from standard input, forks a process for each, and reports on standard output.

    Input and output are JSON lines. An input line is ``{"start": job, "environment": variables}`` or
    ``{"stop": name, "signal": number}``;
    an output line is ``{"started": name, "pid": pid}`` or ``{"ended": name, "status": status}``.
    """

    _running: dict[int, str] = field(init=False, factory=dict)
    _output: int = field(init=False)

    def serve(self) -> None:
        """Serve until the input ends; it also ends if the grid's process dies."""
        # A cluster signals all processes of a job. At SIGTERM the jobs save a checkpoint, and this server reports their
        # ends. The others announce the time limit to the parent, which then stops the jobs.
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        self._output = os.dup(1)
        os.dup2(2, 1)  # imports may print, and their output must not reach the grid's process
        for module in PRELOADED:
            importlib.import_module(module)
        buffer = b""
        while True:
            if select.select([0], [], [], POLL_SECONDS)[0]:
                received = os.read(0, 1 << 16)
                if not received:
                    break
                *lines, buffer = (buffer + received).split(b"\n")
                for line in lines:
                    self._execute(json.loads(line))
            self._reap()
        self._end_all()
        os._exit(0)  # skip the exit handlers of the imported modules

    def _execute(self, command: Mapping[str, Any]) -> None:
        if "stop" in command:
            for pid in [pid for pid, name in self._running.items() if name == command["stop"]]:
                send_signal(pid, command["signal"])
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until the job no longer ignores it
        pid = os.fork()
        if pid == 0:
            os.close(self._output)
            become_job(command["start"], command.get("environment", {}))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        self._running[pid] = command["start"]["name"]
        self._report(started=self._running[pid], pid=pid)

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._report(ended=self._running.pop(pid), status=os.waitstatus_to_exitcode(status))

    def _report(self, **report: Any) -> None:
        with suppress(BrokenPipeError):  # the grid's process has died; the input ends next
            os.write(self._output, json.dumps(report).encode() + b"\n")

    def _end_all(self) -> None:
        """Stop all running jobs after the grid's process has ended; each saves a checkpoint."""
        for pid in self._running:
            send_signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while self._running and time.monotonic() < deadline:
            self._reap()
            time.sleep(POLL_SECONDS)
        for pid in self._running:
            send_signal(pid, signal.SIGKILL)


def send_signal(pid: int, number: int) -> None:
    """Send a signal to a job that has not been waited for: SIGKILL to its process group, others to its main process."""
    if number == signal.SIGKILL:
        with suppress(ProcessLookupError):  # just forked, and not a group leader yet
            os.killpg(pid, number)
    os.kill(pid, number)


def become_job(job: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Run a job in this forked process with some environment variables, and exit with its status."""
    status = 1
    try:
        os.environ.update(environment)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        os.setsid()  # Ctrl-C on the terminal reaches only the grid's process, which forwards it once
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        for number, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(number, target)
        status = perform(job_from_json(job))
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
