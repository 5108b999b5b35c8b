"""A run that has come to its end: summed up, and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from rlcl.evaluation import METRICS_VERSION
from rlcl.evaluation.outcome import Outcome
from rlcl.experiment import Experiment
from rlcl.launch.judging import judged, result_of, write_verdict
from rlcl.launch.latency import latency_ms
from rlcl.objective import Result
from rlcl.tracking.clock import Clock
from rlcl.tracking.folder import RunFolder, disk_errors
from rlcl.tracking.json_files import read_json
from rlcl.tracking.migration import rewrite_config
from rlcl.tracking.runs import trained_names
from rlcl.training.trainer import Trainer

__all__ = ["Finished", "is_finished", "read_finished", "summed_up"]


@frozen
class Finished:
    """A run that came to its end.

    Args:
        outcome: what it came to.
        names: of the experiences evaluated.
        trained: names of the experiences trained on.
        path: its folder.
        repeated: whether it had been finished before.
        result: what an objective can ask of it.
    """

    outcome: Outcome
    names: tuple[str, ...]
    trained: tuple[str, ...]
    path: Path
    repeated: bool
    result: Result


def is_finished(folder: RunFolder) -> bool:
    """Whether a run is finished and its files are there; else its last checkpoint writes the summary again."""
    whole = {"measures", "experiences"} <= read_json(folder.path / "summary.json").keys()
    return whole and folder.status().get("state") == "finished"


def summed_up(experiment: Experiment, trainer: Trainer, folder: RunFolder, clock: Clock) -> dict[str, Any]:
    """The content of ``summary.json``.

    Args:
        experiment: the config.
        trainer: at the end of its stream.
        folder: holds all records.
        clock: what the run took.
    """
    spent, learner = clock.total, trainer.learner
    outcome = Outcome(folder.records(), tuple(learner.measures), experiment.evaluation.metrics)
    summary = {
        **_measured(outcome),
        "metrics_version": METRICS_VERSION,
        "R": outcome.R.tolist(),
        "measures": list(outcome.measures),
        "experiences": [experience.name for experience in trainer.stream.evaluated],
        "trained": [experience.name for experience in trainer.stream],
        "steps": learner.position.step,
        **attrs.asdict(spent),
        "peak_memory_bytes": clock.peak,
        "records": folder.stamp().as_json,
        **_timed(experiment, trainer),
    }
    return judged(experiment, outcome, summary)


def _measured(outcome: Outcome) -> dict[str, Any]:
    """The metrics that were asked for and what they mean, so that no reader of the summary has to know them."""
    found = dict(outcome.metrics)
    told = {name: meaning.as_json for name, meaning in outcome.meanings.items() if name in found}
    return {"metrics": found, "meaning": told, "names": list(outcome.names)}


def _timed(experiment: Experiment, trainer: Trainer) -> dict[str, float]:
    """How long a prediction takes, where the objective asks; outside of what two equal runs agree on."""
    asked = experiment.objective is not None and experiment.objective.constraints.latency_ms is not None
    found = latency_ms(trainer) if asked else None
    return {} if found is None else {"latency_ms": found}


def read_finished(folder: RunFolder, experiment: Experiment, repeated: bool) -> Finished:
    """Reads a finished run; computes its metrics and judges it anew where it had been asked for something else."""
    summary = read_json(folder.path / "summary.json")
    outcome = Outcome(folder.records(), tuple(summary["measures"]), experiment.evaluation.metrics)
    asked = summary if summary.get("names") == list(outcome.names) else {**summary, **_measured(outcome)}
    now = judged(experiment, outcome, asked)
    if now != summary:
        with disk_errors(folder.path):
            rewrite_config(folder.path, experiment)
        folder.write_json("summary.json", now)
        write_verdict(folder.path.parent, experiment)
    names, trained = tuple(summary["experiences"]), trained_names(summary)
    return Finished(outcome, names, trained, folder.path, repeated, result_of(outcome, now))
