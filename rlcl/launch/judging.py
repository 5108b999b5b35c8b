"""What runs came to beside what was asked of them: in the summary of each, and over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlcl.errors import Problem, RunFolderError
from rlcl.evaluation.outcome import Outcome
from rlcl.experiment import Experiment
from rlcl.lock import locked
from rlcl.objective import Result, Verdict, verdict
from rlcl.tracking.folder import read_records, write_json
from rlcl.tracking.json_files import read_json

__all__ = ["judged", "result_of", "verdict_over", "write_verdict"]

FILE = "verdict.json"


def result_of(outcome: Outcome, summary: Mapping[str, Any]) -> Result:
    """What a finished run came to, of its records and its ``summary.json``."""
    return Result.of(outcome.records, outcome.measures, outcome.metrics, summary)


def verdict_over(experiment: Experiment, results: Sequence[Result]) -> Verdict | None:
    """The verdict on an experiment's objective; None where it asks nothing."""
    objective = experiment.objective
    return verdict(objective, results) if objective is not None and objective.judged else None


def judged(experiment: Experiment, outcome: Outcome, summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary with the verdict on this seed alone, where the experiment asks for anything."""
    told = verdict_over(experiment, [result_of(outcome, summary)])
    kept = {key: value for key, value in summary.items() if key != "verdict"}
    return kept if told is None else {**kept, "verdict": told.as_json}


def write_verdict(folder: Path, experiment: Experiment) -> None:
    """Writes ``verdict.json``: the verdict over all finished seeds; the last one to finish sees all.

    Args:
        folder: of one config, which holds ``seed0``, ``seed1``, ...
        experiment: whose objective is judged.
    """
    with locked(folder, wait=True):  # seeds may finish at one moment
        seeds = [p for p in sorted(folder.glob("seed*")) if read_json(p / "status.json").get("state") == "finished"]
        found = verdict_over(experiment, [r for p in seeds if (r := _result_in(p, experiment)) is not None])
        if found is None:
            (folder / FILE).unlink(missing_ok=True)
        else:
            write_json(folder / FILE, found.as_json)


def _result_in(run: Path, experiment: Experiment) -> Result | None:
    """What a finished run came to; None of a damaged one, which must not break the others."""
    summary = read_json(run / "summary.json")
    try:
        outcome = Outcome(read_records(run), tuple(summary["measures"]), experiment.evaluation.metrics)
        return result_of(outcome, summary)
    except (RunFolderError, LookupError, TypeError, Problem):
        return None
