"""A job carried out in the process that a launcher started for it.

``python -m rlcl.launch.work FILE`` carries out the job that :func:`write_job` wrote, for launchers that start
processes elsewhere. Its exit status is that of ``rlcl run``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from rlcl.types import Job

__all__ = ["from_order", "perform", "to_order", "write_job"]


def to_order(job: Job) -> dict[str, Any]:
    """A job as JSON values."""
    from rlcl.state import flatten

    config, _ = flatten(job.config)  # JSON alone would turn whole-number keys into text
    return {**attrs.asdict(job, recurse=False), "config": config, "root": str(job.root), "log": str(job.log)}


def from_order(order: Mapping[str, Any]) -> Job:
    """The job that :func:`to_order` gave."""
    from rlcl.state import unflatten

    config = unflatten(order["config"], {})
    return Job(**{**order, "config": config, "root": Path(order["root"]), "log": Path(order["log"])})


def write_job(job: Job, file: Path) -> None:
    """Writes a job to a file, for ``python -m rlcl.launch.work FILE``."""
    file.write_text(json.dumps(to_order(job)))


def perform(job: Job) -> int:
    """Runs or checks a job in this process; a mistake of the user's is told in a line.

    Returns:
        The exit status that ``rlcl run`` would leave with.
    """
    from rlcl.blame import blamed
    from rlcl.errors import Problem, RlclError

    try:
        _perform(job)
    except KeyboardInterrupt:  # before the run could note it
        return 130
    except Exception as error:
        known = error if isinstance(error, RlclError | Problem) else blamed(error)
        if known is None:
            raise
        for line in str(known).splitlines():
            print(f"rlcl: {line}", file=sys.stderr)  # noqa: T201
        return known.exit_status if isinstance(known, RlclError) else 2
    return 0


def _perform(job: Job) -> None:
    from rich.console import Console

    from rlcl.experiment import experiment_from
    from rlcl.launch.build import make_trainer
    from rlcl.launch.initial import start_of
    from rlcl.launch.seeds import run_seed
    from rlcl.sinks.run_sinks import run_sinks

    experiment = experiment_from(job.config)
    if job.work == "check":
        run_sinks(experiment.sinks)
        make_trainer(experiment, job.seed, start=start_of(experiment, job.seed))
    else:
        run_seed(experiment, job.seed, job.root, Console(width=140))


if __name__ == "__main__":
    sys.exit(perform(from_order(json.loads(Path(sys.argv[1]).read_text()))))
