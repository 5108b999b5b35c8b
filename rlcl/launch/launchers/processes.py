"""Launcher that runs each job as a process on this machine."""

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
from rlcl.errors import ConfigError
from rlcl.launch.launchers.fork_server import send_signal
from rlcl.launch.launchers.work import job_to_json
from rlcl.types import Capacity, Ended, Job, Started

__all__ = ["Processes", "cores", "slots_for"]

# NumPy and similar libraries would start a thread per core. Each run sets the number of torch threads itself.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
START = (
    "import json, sys; sys.path[:], sys.argv[:] = json.loads(sys.argv[1]); "
    "from rlcl.launch.launchers.fork_server import ForkServer; ForkServer().serve()"
)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def slots_for(processes: int | None, threads: int, available: int) -> int:
    """Return the number of jobs that may run at once without more threads than cores.

    Args:
        processes: requested number of processes, at least 1; None for the maximum.
        threads: threads of each job.
        available: number of available cores.
    """
    maximum = max(1, available // threads)
    return maximum if processes is None else min(processes, maximum)


@define(kw_only=True, eq=False)
class Processes:
    """Launcher that forks each job from a process that has already imported torch.

    Args:
        processes: maximum number of concurrent processes; the available cores are the default and the limit.
        devices: GPUs, one for each process at a time: ``cuda:0``. One that is listed twice is shared by two processes.
            The cells must have ``device: cuda``.
    """

    processes: int | None = option(None, ge=1)
    devices: tuple[str, ...] = option((), pattern=(r"cuda:\d+", "GPUs such as cuda:0"))
    _server: subprocess.Popen[bytes] | None = field(init=False, default=None)
    _running: dict[str, int] = field(init=False, factory=dict)  # pids, 0 while unknown
    _buffer: bytes = field(init=False, default=b"")
    _used: dict[str, str] = field(init=False, factory=dict)  # GPUs of the running jobs

    def capacity(self, threads: int) -> Capacity:
        available = cores()
        slots = slots_for(self.processes, threads, available)
        text = f"{threads} thread{'s' * (threads > 1)} each, {available} cores"
        if self.devices:
            slots, text = min(slots, len(self.devices)), f"{text}, on {', '.join(self.devices)}"
        more = "; the config sets more threads than cores" if threads > available else ""
        return Capacity(slots, text + more)

    def preview(self, jobs: Sequence[Job]) -> str:
        return ""

    def start(self, job: Job) -> None:
        environment = self._environment(job)
        if self._server is None:
            self._server = _start_server()
        self._running[job.name] = 0
        self._send(start=job_to_json(job), environment=environment)

    def stop(self, name: str, at_once: bool = False) -> None:
        if name in self._running:
            self._send(stop=name, signal=int(signal.SIGKILL if at_once else signal.SIGTERM))

    def reports(self, seconds: float) -> Sequence[Started | Ended]:
        deadline = time.monotonic() + seconds
        while self._server is not None and self._running:
            assert self._server.stdout is not None
            if not select.select([self._server.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return []
            received = os.read(self._server.stdout.fileno(), 1 << 16)
            if not received:
                return self._handle_dead_server()
            *lines, self._buffer = (self._buffer + received).split(b"\n")
            if lines:
                return [self._parse_report(json.loads(line)) for line in lines]
        return []

    def close(self) -> None:
        for name in self._running:
            self.stop(name, at_once=True)
        self._running.clear()
        self._used.clear()
        self._close_server()

    def _environment(self, job: Job) -> dict[str, str]:
        """Return the environment variables of a job: a free GPU, which is the only one that it sees.

        Raises:
            ConfigError: the job does not use a GPU, or names one.
        """
        if not self.devices:
            return {}
        device = job.config.get("device", "cpu")
        if device not in ("cuda", "auto"):
            raise ConfigError([f"launcher.devices: a cell has device: {device}; set its device to cuda"])
        free = list(self.devices)
        for used in self._used.values():
            free.remove(used)
        self._used[job.name] = (free or list(self.devices))[0]
        return {"CUDA_VISIBLE_DEVICES": self._used[job.name].removeprefix("cuda:")}

    def _parse_report(self, report: Mapping[str, Any]) -> Started | Ended:
        if "started" in report:
            self._running[report["started"]] = report["pid"]
            return Started(report["started"])
        del self._running[report["ended"]]
        self._used.pop(report["ended"], None)
        return Ended(report["ended"], report["status"])

    def _send(self, **command: Any) -> None:
        assert self._server is not None
        assert self._server.stdin is not None
        try:
            self._server.stdin.write(json.dumps(command).encode() + b"\n")
            self._server.stdin.flush()
        except BrokenPipeError:  # the server has died; `reports` detects it
            pass

    def _handle_dead_server(self) -> list[Ended]:
        """Kill the jobs of a server that was killed, since no process can wait for them, and report their end."""
        names = list(self._running)
        for pid in filter(None, self._running.values()):
            try:
                send_signal(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._running.clear()
        self._used.clear()
        self._close_server()
        return [Ended(name, -signal.SIGKILL) for name in names]

    def _close_server(self) -> None:
        """Close the input of the server, which ends it; the next job starts a new server."""
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
        start_new_session=True,  # Ctrl-C on the terminal reaches only the grid's process
    )
