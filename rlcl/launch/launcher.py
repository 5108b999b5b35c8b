"""Where the runs of a grid take place: the protocol that the local launcher meets, and others may."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from attrs import frozen

from rlcl.experiment import Experiment

__all__ = ["Ended", "Job", "Launcher"]


@frozen(kw_only=True)
class Job:
    """One run in a process of its own.

    Args:
        name: another than that of every job which runs beside it.
        work: ``run`` it, going on where it stopped; or only ``check`` it, as ``rlcl check`` does.
        experiment: the config.
        seed: of the run.
        root: the folder of all runs.
        log: a file that holds what the process prints, and nothing of an earlier one.
    """

    name: str
    work: Literal["run", "check"] = "run"
    experiment: Experiment
    seed: int
    root: Path
    log: Path


@frozen
class Ended:
    """A job that has ended.

    Args:
        name: the job's.
        status: 0 where all is well, else its exit status; the negative number of the signal that killed it.
    """

    name: str
    status: int


class Launcher(Protocol):
    """Starts jobs in processes of their own. A job that crashes ends alone."""

    @property
    def slots(self) -> int:
        """How many jobs may run at once."""
        ...

    def start(self, job: Job) -> None:
        """Starts a job and returns at once."""
        ...

    def stop(self, name: str, at_once: bool = False) -> None:
        """Asks a job to save a checkpoint and end, or ends it at once; nothing where it has ended."""
        ...

    def ended(self, seconds: float) -> Sequence[Ended]:
        """The jobs that have ended since the last call, after waiting at most that long for the first."""
        ...

    def close(self) -> None:
        """Ends what still runs, at once."""
        ...
