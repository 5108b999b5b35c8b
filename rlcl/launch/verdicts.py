"""Verdicts on an experiment's objective: for each run in its summary, and over all seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlcl.errors import Problem, RunFolderError
from rlcl.evaluation.outcome import Outcome
from rlcl.experiment import Experiment
from rlcl.lock import LOCK, locked
from rlcl.objective import SeedResult, Verdict, judge_objective
from rlcl.tracking.folder import read_results, write_json
from rlcl.tracking.json_files import read_json

__all__ = ["objective_verdict", "seed_result", "with_verdict", "write_verdict"]

FILE = "verdict.json"


def seed_result(outcome: Outcome, summary: Mapping[str, Any]) -> SeedResult:
    """Return the result of a finished run for its objective, from its outcome and its ``summary.json``."""
    return SeedResult.of(outcome.records, outcome.measures, outcome.metrics, summary)


def objective_verdict(experiment: Experiment, results: Sequence[SeedResult]) -> Verdict | None:
    """Return the verdict on an experiment's objective; None if it has no conditions."""
    objective = experiment.objective
    return judge_objective(objective, results) if objective is not None and objective.has_conditions else None


def with_verdict(experiment: Experiment, outcome: Outcome, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return a summary with the verdict on this seed, if the objective of the experiment has conditions."""
    verdict = objective_verdict(experiment, [seed_result(outcome, summary)])
    content = {key: value for key, value in summary.items() if key != "verdict"}
    return content if verdict is None else {**content, "verdict": verdict.as_json}


def write_verdict(folder: Path, experiment: Experiment) -> None:
    """Write the verdict over all finished seeds to ``verdict.json``.

    Every seed writes it when it finishes, so the last one covers all seeds.

    Args:
        folder: the folder of one config, with ``seed0``, ``seed1``, ...
        experiment: the experiment with the objective.
    """
    with locked(folder / LOCK, wait=True):  # several seeds may finish at the same time
        runs = [p for p in sorted(folder.glob("seed*")) if read_json(p / "status.json").get("state") == "finished"]
        results = [result for run in runs if (result := _read_result(run, experiment)) is not None]
        verdict = objective_verdict(experiment, results)
        if verdict is None:
            (folder / FILE).unlink(missing_ok=True)
        else:
            write_json(folder / FILE, verdict.as_json)


def _read_result(run: Path, experiment: Experiment) -> SeedResult | None:
    """Read the result of a finished run; None if its files are damaged, so that other runs are still judged."""
    summary = read_json(run / "summary.json")
    try:
        outcome = Outcome(read_results(run), tuple(summary["measures"]), experiment.evaluation.metrics)
        return seed_result(outcome, summary)
    except (RunFolderError, LookupError, TypeError, Problem):
        return None
