"""Launcher that runs jobs on a Ray cluster, or on a Ray that it starts on this machine."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field

from rlcl.config import option
from rlcl.errors import ConfigError, UnsupportedError
from rlcl.launch.launchers.processes import cores
from rlcl.launch.launchers.ray_worker import Worker
from rlcl.launch.launchers.shared_folder import Token, pack_runs, unpack_runs
from rlcl.launch.launchers.work import job_to_json
from rlcl.launch.seed_groups import update_seed_group
from rlcl.types import Capacity, Ended, Job, Started

__all__ = ["RayCluster"]

CONNECT_SECONDS = 5.0
STOP_SECONDS = 10.0  # in which workers kill their jobs at the end
IDLE_SECONDS = 3.0  # after which a worker without a job ends
STORE_BYTES = 200_000_000  # object store of a local Ray, for carried runs
LOST = -9  # status of a job whose worker was lost too often: as if it had been killed
Resources = tuple[float, float]  # CPUs and GPUs of a worker


@define(eq=False)
class Task:
    """A job in progress.

    Args:
        job: the job.
        worker: the actor that runs it.
        resources: resources of the actor.
        pending: what is awaited: the answer whether the worker sees the shared folder, then the reports of the job.
        runs: whether the worker has received the job.
    """

    job: Job
    worker: Any
    resources: Resources
    pending: Any
    runs: bool = False


@define(eq=False)
class IdleWorker:
    """A worker without a job, which keeps its resources for the next one.

    Args:
        resources: its resources.
        worker: the actor.
        since: time of the end of its last job.
    """

    resources: Resources
    worker: Any
    since: float = field(init=False, factory=time.monotonic)


@define(kw_only=True, eq=False)
class RayCluster:
    """Launcher that runs each job in a worker of a Ray cluster.

    A worker that is lost with its node is restarted elsewhere and repeats its job, which resumes from its last
    checkpoint. Nodes that do not see the folder of the runs receive and return runs as archives; a job that is lost
    there starts from its beginning.

    Args:
        address: address of a running cluster, ``host:port`` or ``auto``; null starts Ray on this machine.
        retries: number of times that a job is repeated after its worker or node was lost.
        gpus: GPUs of a cell with ``device: cuda``; may be a fraction, such as 0.25.
    """

    address: str | None = option(None, pattern=(r"auto|[^:/\s]+:\d+", "auto or host:port, such as 10.0.0.1:6379"))
    retries: int = option(3, ge=0)
    gpus: float = option(1.0, gt=0)
    _connected: bool = field(init=False, default=False)
    _tasks: dict[str, Task] = field(init=False, factory=dict)
    _idle: list[IdleWorker] = field(init=False, factory=list)
    _tokens: dict[Path, Token] = field(init=False, factory=dict)

    def capacity(self, threads: int) -> Capacity:
        ray = self._connect()
        nodes = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
        slots = max(1, int(sum(cpus // threads for cpus in nodes)))
        text = f"{threads} thread{'s' * (threads > 1)} each, {sum(nodes):g} cores of {len(nodes)} Ray node"
        more = "; the config sets more threads than a node has cores" if threads > max(nodes, default=0) else ""
        return Capacity(slots, text + "s" * (len(nodes) > 1) + more)

    def preview(self, jobs: Sequence[Job]) -> str:
        return ""

    def start(self, job: Job) -> None:
        self._connect()
        job = attrs.evolve(job, root=job.root.resolve(), log=job.log.resolve())
        resources = self._resources(job)
        token = self._token(job)
        worker = self._worker(resources)
        self._tasks[job.name] = Task(job, worker, resources, worker.sees.remote(str(token.file), token.text))

    def stop(self, name: str, at_once: bool = False) -> None:
        task = self._tasks.get(name)
        if task is not None:
            task.worker.stop.remote(name, at_once)

    def reports(self, seconds: float) -> Sequence[Started | Ended]:
        ray = self._connect()
        deadline = time.monotonic() + seconds
        self._release([idle for idle in self._idle if time.monotonic() - idle.since > IDLE_SECONDS])
        while self._tasks:
            by_pending = {task.pending: task for task in self._tasks.values()}
            rest = max(0.0, deadline - time.monotonic())
            ready, _ = ray.wait(list(by_pending), num_returns=len(by_pending), timeout=0)
            ready = ready or ray.wait(list(by_pending), timeout=rest)[0]
            found = [report for pending in ready for report in self._advance(ray, by_pending[pending])]
            if found or not rest:
                return found
        return []

    def close(self) -> None:
        if not self._connected:
            return
        import ray

        with suppress(Exception):  # the cluster may have ended
            stops = [task.worker.stop.remote(name, True) for name, task in self._tasks.items()]
            ray.wait(stops, num_returns=len(stops), timeout=STOP_SECONDS)
        for worker in [*(task.worker for task in self._tasks.values()), *(idle.worker for idle in self._idle)]:
            with suppress(Exception):
                ray.kill(worker)
        for token in self._tokens.values():
            token.remove()
        self._tasks.clear()
        self._idle.clear()
        self._tokens.clear()
        ray.shutdown()
        self._connected = False

    def _advance(self, ray: Any, task: Task) -> Iterator[Started | Ended]:
        """Continue a job whose pending result is ready."""
        name = task.job.name
        try:
            if not task.runs:
                shared = ray.get(task.pending)
                task.pending = task.worker.run.remote(job_to_json(task.job), None if shared else _packed(task.job))
                task.runs = True
                return
            report = ray.get(next(task.pending))
        except ray.exceptions.RayActorError:
            del self._tasks[name]
            _append(task.job.log, f"rlcl: its Ray worker was lost {self.retries + 1} times")
            yield Ended(name, LOST)
            return
        except (ray.exceptions.RayError, StopIteration) as error:
            del self._tasks[name]
            with suppress(Exception):
                ray.kill(task.worker)
            _append(task.job.log, f"rlcl: its Ray worker failed: {error or type(error).__name__}")
            yield Ended(name, 1)
            return
        if "status" not in report:
            yield Started(name)
            return
        del self._tasks[name]
        self._idle.append(IdleWorker(task.resources, task.worker))
        if "log" in report:
            task.job.log.write_bytes(report["log"])
            for folder in unpack_runs(report["runs"], task.job.root):
                with suppress(ConfigError):
                    update_seed_group(folder)
        yield Ended(name, report["status"])

    def _worker(self, resources: Resources) -> Any:
        """Return an idle worker with these resources, or a new one; idle ones with others release theirs."""
        import ray

        for index, idle in enumerate(self._idle):
            if idle.resources == resources:
                return self._idle.pop(index).worker
        self._release(self._idle)
        environment = {key: value for key, value in os.environ.items() if key.startswith("RLCL_")}
        actor = ray.remote(Worker).options(
            num_cpus=resources[0],
            num_gpus=resources[1],
            max_restarts=self.retries,
            max_task_retries=self.retries,
            max_concurrency=3,
        )
        return actor.remote([*sys.path], [*sys.argv], environment, os.getcwd())

    def _release(self, idle: Sequence[IdleWorker]) -> None:
        """End idle workers, whose resources a restarted worker may need."""
        import ray

        for one in [*idle]:
            ray.kill(one.worker)
            self._idle.remove(one)

    def _resources(self, job: Job) -> Resources:
        """Return the resources of a job.

        Raises:
            ConfigError: no node has them.
        """
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cpus = min(float(job.config.get("threads", 1)), max((node.get("CPU", 0.0) for node in nodes), default=1.0))
        if not str(job.config.get("device", "cpu")).startswith("cuda"):
            return cpus, 0.0
        if max((node.get("GPU", 0.0) for node in nodes), default=0.0) < self.gpus:
            raise ConfigError([f"launcher.gpus: no node of the Ray cluster has {self.gpus:g} GPU for device: cuda"])
        return cpus, self.gpus

    def _token(self, job: Job) -> Token:
        """Return the token in the folder of a job's log, which is a part of the folder of the runs."""
        folder = job.log.parent
        if folder not in self._tokens or not self._tokens[folder].file.is_file():
            self._tokens[folder] = Token(folder)
        return self._tokens[folder]

    def _connect(self) -> Any:
        """Connect to the cluster at the first call, and return the module ``ray``.

        Raises:
            UnsupportedError: Ray is not installed.
            ConfigError: no cluster answers at the address.
        """
        try:
            import ray
        except ImportError as error:
            raise UnsupportedError("launcher ray needs Ray; install it with pip install 'rlcl[ray]'") from error
        if self._connected:
            return ray
        options: dict[str, Any] = {"include_dashboard": False, "num_cpus": cores(), "object_store_memory": STORE_BYTES}
        if self.address is not None:
            options = {}
            _check_answers(self.address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(self.address or "local", log_to_driver=False, logging_level="ERROR", **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(
                [f"launcher.address: {self.address or 'a local Ray'} cannot be used: {reason[0]}"]
            ) from error
        self._connected = True
        return ray


def _check_answers(address: str) -> None:
    """Check that something answers at an address, since Ray itself tries it for minutes.

    Raises:
        ConfigError: nothing does.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS):
            return
    except (OSError, OverflowError) as error:
        raise ConfigError(
            [
                f"launcher.address: nothing answers at {address} ({error}); start a cluster with ray start --head, and "
                "use its address, or leave the address out to use this machine"
            ]
        ) from error


def _packed(job: Job) -> bytes:
    """Return an archive of the run so far."""
    return pack_runs(job.root, [job.root / str(job.config["name"]) / job.name] if job.work == "run" else [])


def _append(log: Path, line: str) -> None:
    with suppress(OSError), log.open("a") as file:
        file.write(f"{line}\n")
