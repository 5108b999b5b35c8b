"""Worker of a Ray cluster, which runs one job at a time on its node."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import attrs

from rlcl.launch.launchers.processes import Processes
from rlcl.launch.launchers.shared_folder import pack_runs, sees, unpack_runs
from rlcl.launch.launchers.work import job_from_json
from rlcl.types import Job, Started

__all__ = ["Worker"]

REPORT_SECONDS = 1.0
LOG_BYTES = 1 << 20  # of a carried log that are kept, from its end


class Worker:
    """Actor that runs jobs in processes forked from a server on its node; see :class:`Processes`.

    If the actor or its node dies, the server ends its job, which saves a checkpoint if it still can.

    Args:
        path: ``sys.path`` of the grid's process.
        arguments: ``sys.argv`` of the grid's process, for the manifests of runs.
        environment: environment variables to set.
        folder: working directory of the grid's process, to which the paths of a config are relative.
    """

    def __init__(
        self, path: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str], folder: str
    ) -> None:
        with suppress(OSError):  # another machine may not have it
            os.chdir(folder)
        sys.path.extend(entry for entry in path if entry not in sys.path and Path(entry).exists())
        sys.argv[:] = arguments
        os.environ.update(environment)
        self._processes = Processes()
        self._name = ""

    def sees(self, file: str, text: str) -> bool:
        """Return whether the node sees the shared folder; see :func:`rlcl.launch.launchers.shared_folder.sees`."""
        return sees(file, text)

    def run(self, content: Mapping[str, Any], carried: bytes | None = None) -> Iterator[Mapping[str, Any]]:
        """Run a job to its end.

        Args:
            content: the job as JSON values.
            carried: an archive with the run so far, for a node that does not see the shared folder; None for one that
                does.

        Yields:
            ``{"started": True}`` when the job's process has started, then ``{"status": status}``, with the ``log`` and
            an archive with the ``runs`` if the node does not see the shared folder.
        """
        job = job_from_json(content)
        if carried is None:
            yield from ({"started": True} if status is None else {"status": status} for status in self._statuses(job))
            return
        folder = Path(mkdtemp(prefix="rlcl-"))
        try:
            here = attrs.evolve(job, root=folder / "runs", log=folder / "log.txt")
            unpack_runs(carried, here.root)
            for status in self._statuses(here):
                if status is None:
                    yield {"started": True}
                else:
                    log = here.log.read_bytes()[-LOG_BYTES:] if here.log.is_file() else b""
                    yield {"status": status, "log": log, "runs": pack_runs(here.root, [here.root])}
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def stop(self, name: str, at_once: bool) -> None:
        """Stop the job if it has this name; see :class:`rlcl.types.Launcher`."""
        if name == self._name:
            self._processes.stop(name, at_once)

    def _statuses(self, job: Job) -> Iterator[int | None]:
        """Run a job, and yield None when it has started, then its exit status."""
        self._name = job.name
        self._processes.start(job)
        while True:
            for report in self._processes.reports(REPORT_SECONDS):
                if isinstance(report, Started):
                    yield None
                else:
                    self._name = ""
                    yield report.status
                    return
