"""A process that has imported all that is slow, and forks one process a job; it speaks JSON lines.

Importing torch and what belongs to it takes seconds; a fork takes milliseconds and shares the memory.
The server itself computes nothing, so that it has no threads, no generator that was drawn from and no
device when it forks: every job starts from the state that a process of its own would start from.
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

from rlcl.launch.work import from_order, perform

__all__ = ["Server"]

# What every run needs, or most do, and takes more than a tenth of a second. Libraries that only some learners
# need (Avalanche, Stable-Baselines3, torchvision) are left to the jobs that use them.
PRELOADED = (
    "torch._dynamo",
    "torch.utils.tensorboard",
    "sklearn.datasets",
    "matplotlib.figure",
    "rlcl.launch.seeds",
    "rlcl.learners.gradient",
)
POLL_SECONDS = 0.02  # how soon the end of a job is noticed
GRACE_SECONDS = 30.0  # to save a checkpoint in, where the grid itself has died


@define
class Server:
    """Forks a process for each job on standard input, and tells its end on standard output.

    A line of input is ``{"start": job}`` or ``{"stop": name, "signal": number}``; one of output is
    ``{"started": name, "pid": pid}`` or ``{"ended": name, "status": status}``.
    """

    _running: dict[int, str] = field(init=False, factory=dict)
    _output: int = field(init=False)

    def serve(self) -> None:
        """Works until its input ends, which the death of the grid does."""
        self._output = os.dup(1)
        os.dup2(2, 1)  # what an import prints is no line for the grid
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
                    self._obey(json.loads(line))
            self._reap()
        self._end_all()
        os._exit(0)  # nothing is left to do for all that was imported

    def _obey(self, order: Mapping[str, Any]) -> None:
        if "stop" in order:
            for pid in [pid for pid, name in self._running.items() if name == order["stop"]]:
                send(pid, order["signal"])
            return
        pid = os.fork()
        if pid == 0:
            os.close(self._output)
            become(order["start"])
        self._running[pid] = order["start"]["name"]
        self._tell(started=self._running[pid], pid=pid)

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._tell(ended=self._running.pop(pid), status=os.waitstatus_to_exitcode(status))

    def _tell(self, **said: Any) -> None:
        with suppress(BrokenPipeError):  # the grid has died; the input's end tells so in a moment
            os.write(self._output, json.dumps(said).encode() + b"\n")

    def _end_all(self) -> None:
        """What a grid that was killed leaves behind saves a checkpoint and ends."""
        for pid in self._running:
            send(pid, signal.SIGTERM)
        until = time.monotonic() + GRACE_SECONDS
        while self._running and time.monotonic() < until:
            self._reap()
            time.sleep(POLL_SECONDS)
        for pid in self._running:
            send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> None:
    """A signal to a job that was not waited for yet: SIGKILL to all of its processes, others to the first alone."""
    if number == signal.SIGKILL:
        with suppress(ProcessLookupError):  # just forked, and not the first of a group yet
            os.killpg(pid, number)
    os.kill(pid, number)


def become(order: Mapping[str, Any]) -> None:
    """Makes this process, just forked, the job, and ends with it."""
    status = 1
    try:
        os.setsid()  # Ctrl-C on the terminal is the grid's, which passes it on once
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        for number, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(number, target)
        status = perform(from_order(order))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
