"""Execution of a job in a process that a launcher started.

``python -m rlcl.launch.launchers.work FILE`` runs the job that :func:`write_job` wrote, for launchers that start
processes on other machines. Its exit status is that of ``rlcl run``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from rlcl.types import Job

__all__ = ["job_from_json", "job_to_json", "perform", "write_job"]


def job_to_json(job: Job) -> dict[str, Any]:
    """Convert a job to JSON values."""
    from rlcl.state import flatten

    config, _ = flatten(job.config)  # plain JSON would turn integer keys into strings
    return {**attrs.asdict(job, recurse=False), "config": config, "root": str(job.root), "log": str(job.log)}


def job_from_json(content: Mapping[str, Any]) -> Job:
    """Return the job that :func:`job_to_json` converted."""
    from rlcl.state import unflatten

    config = unflatten(content["config"], {})
    return Job(**{**content, "config": config, "root": Path(content["root"]), "log": Path(content["log"])})


def write_job(job: Job, file: Path) -> None:
    """Write a job to a file, for ``python -m rlcl.launch.launchers.work FILE``."""
    file.write_text(json.dumps(job_to_json(job)))


def perform(job: Job) -> int:
    """Run or check a job in this process, and print errors that the user can fix without a traceback.

    Returns:
        The exit status that ``rlcl run`` would have.
    """
    from rlcl.error_origin import user_error
    from rlcl.errors import Problem, RlclError

    try:
        _perform(job)
    except KeyboardInterrupt:  # before the run installed its signal handler
        return 130
    except Exception as error:
        reported = error if isinstance(error, RlclError | Problem) else user_error(error)
        if reported is None:
            raise
        for line in str(reported).splitlines():
            print(f"rlcl: {line}", file=sys.stderr)  # noqa: T201
        return reported.exit_status if isinstance(reported, RlclError) else 2
    return 0


def _perform(job: Job) -> None:
    from rlcl.console import make_console
    from rlcl.experiment import experiment_from
    from rlcl.launch.baselines import check_baselines
    from rlcl.launch.build import make_trainer
    from rlcl.launch.initial_state import load_initial_state
    from rlcl.launch.seeds import run_seed
    from rlcl.sinks.run_sinks import run_sinks

    experiment = experiment_from(job.config)
    if job.work == "check":
        run_sinks(experiment.sinks)
        trainer = make_trainer(experiment, job.seed, start=load_initial_state(experiment, job.seed))
        check_baselines(experiment, job.seed, len(trainer.stream.evaluated))
    else:
        run_seed(experiment, job.seed, job.root, make_console())


if __name__ == "__main__":
    sys.exit(perform(job_from_json(json.loads(Path(sys.argv[1]).read_text()))))
