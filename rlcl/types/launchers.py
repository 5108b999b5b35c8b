"""Launchers: where the runs of a suite take place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Capacity", "Ended", "Job", "Launcher", "Started"]


@frozen(kw_only=True)
class Job:
    """One run, to be carried out in a process of its own: :func:`rlcl.launch.work.perform` does it.

    Args:
        name: another than that of every job which runs beside it; the same whenever the suite is run again.
        work: ``run`` it, resuming where it stopped; or only ``check`` it, as ``rlcl check`` does.
        config: the resolved experiment as plain data.
        seed: of the run.
        root: the folder of all runs.
        log: a file that is to hold what the process prints, and nothing of an earlier one.
    """

    name: str
    work: Literal["run", "check"] = "run"
    config: Mapping[str, Any]
    seed: int
    root: Path
    log: Path


@frozen
class Started:
    """A job whose process has started; it may have waited before.

    Args:
        name: the job's.
    """

    name: str


@frozen
class Ended:
    """A job that has ended.

    Args:
        name: the job's.
        status: 0 where all is well, else its exit status; the negative number of the signal that killed it.
    """

    name: str
    status: int


@frozen
class Capacity:
    """How many jobs may be started before one has ended.

    Args:
        slots: that many, at least 1.
        text: for people, why so many, and where: ``1 thread each, 8 cores``.
    """

    slots: int
    text: str


class Launcher(Protocol):
    """Starts jobs in processes of their own. A job that crashes ends alone."""

    def capacity(self, threads: int) -> Capacity:
        """How many jobs may be given to :meth:`start` at a time.

        Args:
            threads: of each job.
        """
        ...

    def start(self, job: Job) -> None:
        """Start a job, or have it wait for its turn, and return at once."""
        ...

    def stop(self, name: str, at_once: bool = False) -> None:
        """Ask a job to save a checkpoint and end (SIGTERM), or end it at once; nothing where it has ended."""
        ...

    def reports(self, seconds: float) -> Sequence[Started | Ended]:
        """Return what has become of jobs since the last call, after waiting at most that long for the first."""
        ...

    def close(self) -> None:
        """End what still runs, at once."""
        ...
