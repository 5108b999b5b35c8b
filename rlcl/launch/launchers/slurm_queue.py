"""Cells in the queue of Slurm: their submissions, and the commands that list and cancel jobs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define

from rlcl.launch.launchers.slurm_job import Messages
from rlcl.tracking.folder import write_atomically
from rlcl.tracking.json_files import read_json
from rlcl.types import Job

__all__ = ["Submission", "cancel_jobs", "queued_jobs", "stored_submission", "submission_folder"]

COMMAND_SECONDS = 60.0
PICKLES = ("submitted", "0_result")  # files of submitit


def submission_folder(job: Job) -> Path:
    """Return the folder of scripts, output and messages, which is in the folder of the logs."""
    return job.log.parent / "slurm"


@define(eq=False)
class Submission:
    """A cell that has been submitted.

    Args:
        job: its job.
        token: id of this submission.
        handle: job of submitit; None for one that an earlier call has submitted.
        slurm_id: id of the Slurm job, ``123`` or ``123_4``.
        started: whether its process has started.
        stopped: whether it was to be stopped.
        absent: how often in a row the queue did not list the Slurm job.
    """

    job: Job
    token: str
    handle: Any
    slurm_id: str
    started: bool = False
    stopped: bool = False
    absent: int = 0

    @property
    def folder(self) -> Path:
        """See :func:`submission_folder`."""
        return submission_folder(self.job)

    @property
    def messages(self) -> Messages:
        """The messages of its folder."""
        return Messages(self.folder / "messages")

    @property
    def output(self) -> Path:
        """The output of the Slurm job."""
        return self.folder / f"{self.slurm_id}_0_log.out"

    @property
    def pickles(self) -> list[Path]:
        """The files of submitit that are not needed after the end of the Slurm job."""
        return [self.folder / f"{self.slurm_id}_{kind}.pkl" for kind in PICKLES]

    def store(self) -> None:
        """Write the submission to a file, from which a later call can follow it."""
        write_atomically(_file(self.job), json.dumps({"token": self.token, "slurm_id": self.slurm_id}))

    def remove(self) -> None:
        """Remove its messages and its file; scripts and output remain."""
        self.messages.remove(self.token)
        _file(self.job).unlink(missing_ok=True)


def _file(job: Job) -> Path:
    return submission_folder(job) / f"{job.log.stem}.json"


def stored_submission(job: Job) -> Submission | None:
    """Return the submission of a cell that an earlier call has stored; None if there is none."""
    stored = read_json(_file(job), "submission")
    return (
        Submission(job, stored["token"], None, stored["slurm_id"]) if {"token", "slurm_id"} <= stored.keys() else None
    )


def queued_jobs() -> set[str] | None:
    """Return the ids of the user's jobs in the queue; None if the queue does not answer."""
    try:
        command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return set(answer.stdout.split())


def cancel_jobs(ids: Iterable[str]) -> None:
    """Cancel Slurm jobs; jobs that have ended are ignored."""
    if listed := sorted(set(ids)):
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["scancel", *listed], capture_output=True, timeout=COMMAND_SECONDS, check=False)
