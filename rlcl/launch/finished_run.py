"""Summary of a run when it finishes, and results read from the folder of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from rlcl.evaluation import METRICS_VERSION
from rlcl.evaluation.outcome import Outcome
from rlcl.experiment import Experiment
from rlcl.launch.latency import latency_ms
from rlcl.launch.verdicts import seed_result, with_verdict, write_verdict
from rlcl.objective import SeedResult
from rlcl.tracking.clock import Clock
from rlcl.tracking.folder import RunFolder, disk_errors
from rlcl.tracking.json_files import read_json
from rlcl.tracking.migration import rewrite_config
from rlcl.tracking.runs import trained_names
from rlcl.training.trainer import Trainer
from rlcl.types import Stream

__all__ = ["FinishedRun", "is_finished", "outcome_summary", "read_finished_run", "run_summary"]


@frozen
class FinishedRun:
    """A finished run and its results.

    Args:
        outcome: records, measures and metrics of the run.
        names: names of the evaluated experiences.
        trained: names of the experiences trained on.
        path: the run folder.
        repeated: whether the run had already been finished by an earlier call.
        result: the quantities that an objective can refer to.
    """

    outcome: Outcome
    names: tuple[str, ...]
    trained: tuple[str, ...]
    path: Path
    repeated: bool
    result: SeedResult


def is_finished(folder: RunFolder) -> bool:
    """Return whether a run is finished and its summary is complete.

    If only the summary is missing, the last checkpoint is loaded to write it again.
    """
    has_summary = {"measures", "experiences"} <= read_json(folder.path / "summary.json").keys()
    return has_summary and folder.status().get("state") == "finished"


def run_summary(experiment: Experiment, trainer: Trainer, folder: RunFolder, clock: Clock) -> dict[str, Any]:
    """Return the content of ``summary.json``.

    Args:
        experiment: the config.
        trainer: the trainer at the end of its stream.
        folder: the run folder with all records.
        clock: the clock of the run.
    """
    total_cost, learner = clock.total, trainer.learner
    outcome = Outcome(folder.records(), trainer.measures, experiment.evaluation.metrics)
    summary = {
        **outcome_summary(outcome, trainer.stream),
        "steps": learner.position.step,
        **attrs.asdict(total_cost),
        "peak_memory_bytes": clock.peak,
        "records": folder.checksum().as_json,
        **_latency(experiment, trainer),
    }
    return with_verdict(experiment, outcome, summary)


def outcome_summary(outcome: Outcome, stream: Stream) -> dict[str, Any]:
    """Return the part of ``summary.json`` that follows from the records: metrics, R and names of experiences."""
    trained = [experience.name for experience in stream]
    rows = outcome.row_names(trained)
    return {
        **_metrics_and_meanings(outcome),
        "metrics_version": METRICS_VERSION,
        "R": outcome.R.tolist(),
        "measures": list(outcome.measures),
        "experiences": [experience.name for experience in stream.evaluated],
        "trained": trained,
        **({} if rows == trained else {"rows": rows}),
    }


def _metrics_and_meanings(outcome: Outcome) -> dict[str, Any]:
    """Return the requested metrics and their meanings, so that the summary can be read without rlcl."""
    values = dict(outcome.metrics)
    meanings = {name: meaning.as_json for name, meaning in outcome.meanings.items() if name in values}
    return {"metrics": values, "meaning": meanings, "names": list(outcome.names)}


def _latency(experiment: Experiment, trainer: Trainer) -> dict[str, float]:
    """Measure the latency of a prediction if the objective limits it; it differs between equal runs."""
    is_limited = experiment.objective is not None and experiment.objective.constraints.latency_ms is not None
    latency = latency_ms(trainer) if is_limited else None
    return {} if latency is None else {"latency_ms": latency}


def read_finished_run(folder: RunFolder, experiment: Experiment, repeated: bool) -> FinishedRun:
    """Read a finished run, and update its summary and verdict if the requested metrics or the objective changed."""
    summary = read_json(folder.path / "summary.json")
    outcome = Outcome(folder.results(), tuple(summary["measures"]), experiment.evaluation.metrics)
    same_metrics = summary.get("names") == list(outcome.names)
    updated = with_verdict(
        experiment, outcome, summary if same_metrics else {**summary, **_metrics_and_meanings(outcome)}
    )
    if updated != summary:
        with disk_errors(folder.path):
            rewrite_config(folder.path, experiment)
        folder.write_json("summary.json", updated)
        write_verdict(folder.path.parent, experiment)
    names, trained = tuple(summary["experiences"]), trained_names(summary)
    return FinishedRun(outcome, names, trained, folder.path, repeated, seed_result(outcome, updated))
