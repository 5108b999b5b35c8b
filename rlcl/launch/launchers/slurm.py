"""Launcher that submits jobs to Slurm, through submitit."""

from __future__ import annotations

import logging
import secrets
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field

from rlcl.config import option
from rlcl.errors import ConfigError, Problem, RlclError, UnsupportedError
from rlcl.launch.launchers.processes import Processes
from rlcl.launch.launchers.slurm_job import Messages, SlurmJob
from rlcl.launch.launchers.slurm_queue import (
    Submission,
    cancel_jobs,
    queued_jobs,
    stored_submission,
    submission_folder,
)
from rlcl.launch.launchers.work import job_to_json
from rlcl.types import Capacity, Ended, Job, Started

__all__ = ["Slurm"]

POLL_SECONDS = 1.0  # time between two looks at the messages
QUEUE_SECONDS = 15.0  # time between two looks at the queue
LARGEST_ARRAY = 1000  # Slurm's default for MaxArraySize is 1001
KILLED = -int(signal.SIGKILL)
STOPPED = 128 + int(signal.SIGTERM)
EARLY_SECONDS = 60  # by which Slurm may send a signal early (sbatch(1), --signal)


@define(kw_only=True, eq=False)
class Slurm:
    """Launcher that submits cells to Slurm as array jobs.

    A job that is preempted, or whose node fails, is requeued by Slurm. A job that reaches its time limit saves a
    checkpoint before and is requeued. In both cases its cells resume from their last checkpoint. If this process ends,
    the jobs remain in the queue, and the next call of the same command follows them.

    Args:
        partition, account, qos: as for ``sbatch``.
        minutes: time limit of a job. A cell may take longer: it is requeued.
        cells: number of cells of a job, which run at the same time.
        jobs: maximum number of jobs in the queue.
        parallel: maximum number of jobs of an array that run at the same time.
        memory_gb: memory of a job.
        gpus: GPUs of a job whose cells have ``device: cuda``.
        setup: shell commands that are executed before, such as ``module load cuda``.
        options: further options of ``sbatch``, such as ``{nodelist: node7}``.
        signal_seconds: time before the time limit at which the cells save a checkpoint.
        cluster: ``slurm``; ``local`` and ``debug`` run the jobs on this machine, to try settings without Slurm.
    """

    partition: str | None = option(None)
    account: str | None = option(None)
    qos: str | None = option(None)
    minutes: int = option(60, ge=1)
    cells: int = option(1, ge=1)
    jobs: int = option(LARGEST_ARRAY, ge=1)
    parallel: int = option(256, ge=1)
    memory_gb: float | None = option(None, gt=0)
    gpus: int = option(1, ge=1)
    setup: tuple[str, ...] = option(())
    options: Mapping[str, str | int | float | bool] = option(factory=dict)
    signal_seconds: int = option(90, ge=1)
    cluster: str = option("slurm", pattern=("slurm|local|debug", "slurm, local or debug"))
    _checks: Processes = field(init=False, factory=Processes)
    _waiting: list[Job] = field(init=False, factory=list)  # until the next submission
    _submitted: dict[str, Submission] = field(init=False, factory=dict)
    _reports: list[Started | Ended] = field(init=False, factory=list)
    _pickles: list[Path] = field(init=False, factory=list)  # of jobs that have ended
    _queue: set[str] | None = field(init=False, default=None)  # ids of the jobs in the queue, at the last look
    _next_queue: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        maximum = 60 * self.minutes - EARLY_SECONDS
        if self.signal_seconds > maximum:
            minutes = -(-(self.signal_seconds + EARLY_SECONDS) // 60)
            raise Problem(
                f"{self.signal_seconds} with minutes: {self.minutes}; Slurm may send the signal {EARLY_SECONDS} s "
                "early, before a job is ready for it; "
                + (f"set it to at most {maximum}, or minutes to" if maximum > 0 else "set minutes to")
                + f" at least {minutes}",
                "signal_seconds",
            )

    def capacity(self, threads: int) -> Capacity:
        self._executor_class()
        partition = f"partition {self.partition}" if self.partition else "the default partition"
        place = partition if self.cluster == "slurm" else f"submitit's executor {self.cluster}"
        threads_text = f"{threads} thread{'s' * (threads > 1)} each"
        return Capacity(self.jobs * self.cells, f"{threads_text}, {self.cells} per job, in the queue of {place}")

    def preview(self, jobs: Sequence[Job]) -> str:
        if not jobs or self.cluster != "slurm":
            return ""
        executor = self._executor(jobs[0])
        parts = -(-len(jobs) // self.cells)
        inner = executor._executor
        if parts > 1:
            inner.parameters["map_count"] = min(parts, LARGEST_ARRAY)
        script: str = inner._make_submission_file_text(inner._submitit_command_str, "preview")
        return script

    def start(self, job: Job) -> None:
        if job.work == "check":  # it takes seconds: not worth a place in the queue
            self._checks.start(job)
            return
        job = attrs.evolve(job, root=job.root.resolve(), log=job.log.resolve())
        earlier = stored_submission(job) if self.cluster == "slurm" else None
        if earlier is not None and earlier.slurm_id in (self._queued() or ()):
            self._submitted[job.name] = earlier
        else:
            self._waiting.append(job)

    def stop(self, name: str, at_once: bool = False) -> None:
        self._checks.stop(name, at_once)
        for job in [job for job in self._waiting if job.name == name]:
            self._waiting.remove(job)
            self._reports.append(Ended(name, KILLED if at_once else STOPPED))
        submission = self._submitted.get(name)
        if submission is None:
            return
        submission.stopped = True
        submission.messages.send(submission.token, "stop", at_once=at_once)
        of_job = [other for other in self._submitted.values() if other.slurm_id == submission.slurm_id]
        if all(other.stopped and not other.started for other in of_job):
            self._cancel(of_job)
            self._reports += [self._end(other, KILLED if at_once else STOPPED) for other in of_job]

    def reports(self, seconds: float) -> Sequence[Started | Ended]:
        deadline = time.monotonic() + seconds
        self._submit()
        while True:
            reports, self._reports = [*self._reports, *self._checks.reports(0.0), *self._news()], []
            if reports or time.monotonic() >= deadline:
                return reports
            time.sleep(min(POLL_SECONDS if self._submitted else 0.05, max(0.0, deadline - time.monotonic())))

    def close(self) -> None:
        self._checks.close()
        self._waiting.clear()
        self._cancel([*self._submitted.values()])
        for submission in self._submitted.values():
            self._clean_up(submission)
        self._submitted.clear()
        for file in self._pickles:  # a job writes its result after its last message
            file.unlink(missing_ok=True)
        self._pickles.clear()

    def _submit(self) -> None:
        """Submit all waiting jobs, as one array per folder and kind of resources."""
        groups: dict[tuple[Path, int, bool], list[Job]] = defaultdict(list)
        for job in self._waiting:
            groups[(job.log.parent, _threads(job), _needs_gpu(job))].append(job)
        self._waiting.clear()
        for jobs in groups.values():
            parts = [jobs[i : i + self.cells] for i in range(0, len(jobs), self.cells)]
            for first in range(0, len(parts), LARGEST_ARRAY):
                self._submit_array(parts[first : first + LARGEST_ARRAY])

    def _submit_array(self, parts: Sequence[Sequence[Job]]) -> None:
        """Submit an array with a Slurm job for each part.

        Raises:
            RlclError: Slurm does not accept it; the message is that of Slurm.
        """
        executor, handles, tokens = self._executor(parts[0][0]), [], []
        messages = Messages(submission_folder(parts[0][0]) / "messages")
        try:
            with _interruptible_children(), executor.batch():
                for jobs in parts:
                    tokens.append([secrets.token_hex(8) for _ in jobs])
                    contents = {token: job_to_json(job) for token, job in zip(tokens[-1], jobs, strict=True)}
                    handles.append(executor.submit(SlurmJob(contents, messages, [*sys.path], [*sys.argv])))
        except Exception as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise RlclError(
                f"Slurm does not accept the jobs: {lines[-1] if lines else type(error).__name__}"
            ) from error
        for jobs, handle, of_part in zip(parts, handles, tokens, strict=True):
            for job, token in zip(jobs, of_part, strict=True):
                submission = self._submitted[job.name] = Submission(job, token, handle, handle.job_id)
                submission.store()

    def _news(self) -> Iterator[Started | Ended]:
        """Yield what the messages and the queue say about the submitted cells."""
        if self.cluster == "debug":
            for submission in self._submitted.values():
                submission.handle.results()
        names = {s.folder: s.messages for s in self._submitted.values()}
        found_in = {folder: messages.names() for folder, messages in names.items()}
        for submission in [*self._submitted.values()]:
            found = found_in[submission.folder]
            if not submission.started and f"{submission.token}.started" in found:
                submission.started = True
                yield Started(submission.job.name)
            if f"{submission.token}.ended" in found:
                message = submission.messages.read(submission.token, "ended")
                yield self._end(submission, int(message.get("status", 1)))
        if self._submitted and time.monotonic() >= self._next_queue:
            yield from self._lost()

    def _lost(self) -> Iterator[Ended]:
        """Yield the cells whose Slurm job has left the queue without a message."""
        queue = self._queued()
        for submission in [*self._submitted.values()] if queue is not None else ():
            listed = queue is not None and submission.slurm_id in queue
            submission.absent = 0 if listed else submission.absent + 1
            if submission.absent > 1:
                reason = f"Slurm ended job {submission.slurm_id} without a result: cancelled, or out of memory"
                with suppress(OSError), submission.job.log.open("a") as log:
                    log.write(f"rlcl: {reason}; its output is in {submission.output}\n")
                yield self._end(submission, STOPPED if submission.stopped else KILLED)

    def _queued(self) -> set[str] | None:
        """Return the ids of the jobs in the queue, at most some seconds ago; None if the queue does not answer."""
        if time.monotonic() >= self._next_queue:
            self._next_queue = time.monotonic() + QUEUE_SECONDS
            if self.cluster == "slurm":
                self._queue = queued_jobs()
            else:
                handles = [s.handle for s in self._submitted.values() if s.handle is not None]
                self._queue = {handle.job_id for handle in handles if not handle.done()}
        return self._queue

    def _end(self, submission: Submission, status: int) -> Ended:
        self._clean_up(submission)
        del self._submitted[submission.job.name]
        return Ended(submission.job.name, status)

    def _clean_up(self, submission: Submission) -> None:
        submission.remove()
        if not any(o.slurm_id == submission.slurm_id and o is not submission for o in self._submitted.values()):
            self._pickles += submission.pickles

    def _cancel(self, submissions: Sequence[Submission]) -> None:
        if self.cluster == "slurm":
            cancel_jobs(submission.slurm_id for submission in submissions)
            return
        for submission in submissions:
            submission.handle.cancel(check=False)

    def _executor(self, job: Job) -> Any:
        """Return submitit's executor for jobs like this one.

        Raises:
            ConfigError: an option is unknown to it.
        """
        executor = self._executor_class()(submission_folder(job), cluster=self.cluster, slurm_max_num_timeout=1_000_000)
        parameters: dict[str, Any] = {
            "name": f"rlcl-{job.config.get('name', '')}",
            "timeout_min": self.minutes,
            "cpus_per_task": _threads(job) * self.cells,
            "mem_gb": self.memory_gb,
            "gpus_per_node": self.gpus if _needs_gpu(job) else None,
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "slurm_qos": self.qos,
            "slurm_array_parallelism": self.parallel,
            "slurm_signal_delay_s": self.signal_seconds,
            "slurm_setup": [*self.setup] or None,
            "slurm_additional_parameters": {"requeue": True, **self.options},
        }
        try:
            executor.update_parameters(**{key: value for key, value in parameters.items() if value is not None})
        except (NameError, ValueError, TypeError, AssertionError) as error:
            raise ConfigError([f"launcher: {str(error).splitlines()[0]}"]) from error
        return executor

    def _executor_class(self) -> Any:
        """Return the class of submitit's executor.

        Raises:
            UnsupportedError: submitit or Slurm is not installed.
        """
        try:
            from submitit import AutoExecutor
        except ImportError as error:
            remedy = "install it with pip install 'rlcl[slurm]'"
            raise UnsupportedError(f"launcher slurm needs submitit; {remedy}") from error
        missing = [command for command in ("sbatch", "squeue", "srun") if shutil.which(command) is None]
        if self.cluster == "slurm" and missing:
            raise UnsupportedError(
                f"launcher slurm needs Slurm, but there is no {missing[0]} on this machine; call it on a login node, "
                "or try the settings with launcher.cluster=local"
            )
        logging.getLogger("submitit").setLevel(logging.WARNING)
        return AutoExecutor


@contextmanager
def _interruptible_children() -> Iterator[None]:
    """Let processes that start here receive SIGINT, by which submitit's local executor cancels a job.

    A command in the background of a shell ignores it, and its children would, too.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _threads(job: Job) -> int:
    return int(job.config.get("threads", 1))


def _needs_gpu(job: Job) -> bool:
    return str(job.config.get("device", "cpu")).startswith("cuda")
