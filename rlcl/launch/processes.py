"""The launcher of one machine: a process a job, as many at once as there are cores for."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from rlcl.config import option
from rlcl.launch.server import send
from rlcl.launch.work import to_order
from rlcl.types import Capacity, Ended, Job, Started

__all__ = ["Processes", "cores", "slots_for"]

# What NumPy and its kin would start a thread a core for. Torch's own threads are set by each run.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
START = (
    "import json, sys; sys.path[:], sys.argv[:] = json.loads(sys.argv[1]); "
    "from rlcl.launch.server import Server; Server().serve()"
)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def slots_for(processes: int | None, threads: int, available: int) -> int:
    """How many jobs may run at once, so that they have no more threads than there are cores.

    Args:
        processes: asked for, at least 1; as many as fit by default.
        threads: of each job.
        available: cores.
    """
    fitting = max(1, available // threads)
    return fitting if processes is None else min(processes, fitting)


@define(kw_only=True, eq=False)
class Processes:
    """Jobs as processes on this machine, forked from one that has imported torch already.

    Args:
        processes: how many at once; as many as there are cores for by default, and never more.
    """

    processes: int | None = option(None, ge=1)
    _server: subprocess.Popen[bytes] | None = field(init=False, default=None)
    _running: dict[str, int] = field(init=False, factory=dict)  # pids, 0 while unknown
    _buffer: bytes = field(init=False, default=b"")

    def capacity(self, threads: int) -> Capacity:
        available = cores()
        slots = slots_for(self.processes, threads, available)
        text = f"{threads} thread{'s' * (threads > 1)} each, {available} cores"
        more = ": more threads than cores, as the config says" if threads > available else ""
        return Capacity(slots, text + more)

    def start(self, job: Job) -> None:
        if self._server is None:
            self._server = _start_server()
        self._running[job.name] = 0
        self._order(start=to_order(job))

    def stop(self, name: str, at_once: bool = False) -> None:
        if name in self._running:
            self._order(stop=name, signal=int(signal.SIGKILL if at_once else signal.SIGTERM))

    def reports(self, seconds: float) -> Sequence[Started | Ended]:
        until = time.monotonic() + seconds
        while self._server is not None and self._running:
            assert self._server.stdout is not None
            if not select.select([self._server.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
                return []
            received = os.read(self._server.stdout.fileno(), 1 << 16)
            if not received:
                return self._lost()
            *lines, self._buffer = (self._buffer + received).split(b"\n")
            if lines:
                return [self._heard(json.loads(line)) for line in lines]
        return []

    def close(self) -> None:
        for name in self._running:
            self.stop(name, at_once=True)
        self._running.clear()
        self._leave()

    def _heard(self, said: Mapping[str, Any]) -> Started | Ended:
        if "started" in said:
            self._running[said["started"]] = said["pid"]
            return Started(said["started"])
        del self._running[said["ended"]]
        return Ended(said["ended"], said["status"])

    def _order(self, **order: Any) -> None:
        assert self._server is not None
        assert self._server.stdin is not None
        try:
            self._server.stdin.write(json.dumps(order).encode() + b"\n")
            self._server.stdin.flush()
        except BrokenPipeError:  # it has died, which `reports` finds out
            pass

    def _lost(self) -> list[Ended]:
        """The server was killed: its jobs, which nobody could wait for, end with it."""
        names = list(self._running)
        for pid in filter(None, self._running.values()):
            try:
                send(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._running.clear()
        self._leave()
        return [Ended(name, -signal.SIGKILL) for name in names]

    def _leave(self) -> None:
        """The end of its input ends the server; the next job starts another."""
        if self._server is None:
            return
        server, self._server, self._buffer = self._server, None, b""
        try:
            server.communicate()
        except BrokenPipeError:
            server.wait()


def _start_server() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", START, json.dumps([sys.path, sys.argv])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **ONE_THREAD},
        start_new_session=True,  # Ctrl-C on the terminal reaches the grid alone
    )
