"""Protocol of launchers, which start the runs of a suite as processes, and the records that it uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Capacity", "Ended", "Job", "Launcher", "Started"]


@frozen(kw_only=True)
class Job:
    """One run, executed in a separate process by :func:`rlcl.launch.launchers.work.perform`.

    Args:
        name: unique among the jobs that run at the same time; the same each time the suite is run.
        work: ``run`` to run it, resuming from its last checkpoint; ``check`` only to check it, as ``rlcl check`` does.
        config: resolved experiment as plain data.
        seed: seed of the run.
        root: folder of all runs.
        log: file for the output of the process; the output of an earlier process is overwritten.
    """

    name: str
    work: Literal["run", "check"] = "run"
    config: Mapping[str, Any]
    seed: int
    root: Path
    log: Path


@frozen
class Started:
    """Report that the process of a job has started, possibly after waiting.

    Args:
        name: name of the job.
    """

    name: str


@frozen
class Ended:
    """Report that a job has finished.

    Args:
        name: name of the job.
        status: exit status, 0 for success; the negative number of the signal if a signal ended the process.
    """

    name: str
    status: int


@frozen
class Capacity:
    """Number of jobs that can be in progress at the same time.

    Args:
        slots: that number, at least 1.
        text: human-readable reason and place: ``1 thread each, 8 cores``.
    """

    slots: int
    text: str


class Launcher(Protocol):
    """A component that starts each job in a separate process. A job that crashes does not affect the others."""

    def capacity(self, threads: int) -> Capacity:
        """Return the number of jobs that can be passed to :meth:`start` at the same time.

        Args:
            threads: number of threads of each job.
        """
        ...

    def preview(self, jobs: Sequence[Job]) -> str:
        """Return what would be submitted to a queue for some jobs, for ``--dry-run``; empty without a queue."""
        ...

    def start(self, job: Job) -> None:
        """Start a job, or put it into a queue; return immediately."""
        ...

    def stop(self, name: str, at_once: bool = False) -> None:
        """Stop a job; do nothing if it has finished.

        Args:
            name: name of the job.
            at_once: whether to kill it; by default it receives SIGTERM, saves a checkpoint and exits.
        """
        ...

    def reports(self, seconds: float) -> Sequence[Started | Ended]:
        """Return the reports since the last call.

        Args:
            seconds: longest time to wait for the first report.
        """
        ...

    def close(self) -> None:
        """Kill all jobs that are still running."""
        ...
