"""Many combinations at once, each in a forked process with a limit of time; what has passed is kept."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define

from matrix.forking import become
from matrix.taking import STAGES, Taken, take

__all__ = ["Job", "taken"]

POLL_SECONDS = 0.02


@define
class Job:
    """A combination to take.

    Args:
        key: unique.
        config: of the experiment.
        stages: as in :func:`matrix.taking.take`.
    """

    key: str
    config: Mapping[str, Any]
    stages: Iterable[str] = STAGES


def taken(jobs: Sequence[Job], workers: int, folder: Path) -> Iterator[tuple[Job, Taken]]:
    """Takes combinations, several at once; gives each as it ends.

    Args:
        jobs: in their order.
        workers: at once.
        folder: for what they write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    waiting, running = list(jobs)[::-1], dict[int, tuple[Job, Path, float]]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop()
                place = folder / hashlib.sha256(job.key.encode()).hexdigest()[:12]
                running[_forked(job, place)] = (job, place)
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    job, place = running.pop(pid)
                    yield job, _outcome(place, os.waitstatus_to_exitcode(status))
            time.sleep(POLL_SECONDS)
    finally:
        for pid in running:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


def _forked(job: Job, place: Path) -> int:
    pid = os.fork()
    if pid == 0:
        become(lambda: _work(job, place), place.with_suffix(".log"), place.parent)
    return pid


def _work(job: Job, place: Path) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # its command, which is not of its group, ends with it
    found = take(job.config, place, job.stages)
    place.with_suffix(".json").write_text(json.dumps(found.to_json()))
    return 0


def _outcome(place: Path, status: int) -> Taken:
    file, log = place.with_suffix(".json"), place.with_suffix(".log")
    try:
        if not file.exists():
            said = log.read_text(errors="replace") if log.exists() else ""
            return Taken(failure="died", text=f"status {status}\n{said}")
        return Taken(**json.loads(file.read_text()))
    finally:
        file.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
