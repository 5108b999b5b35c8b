"""Baselines of a run: single-task runs and joint runs of the same learner without methods.

Baselines are ordinary runs of the experiment ``baselines``, so that experiments with the same baseline share one run:
its folder is named after the hash of its settings, and its lock prevents a second process from running it. When a run
finishes, the records of its baselines are copied to its folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
from attrs import frozen

from rlcl.config import build, component, unstructure
from rlcl.config.components import describe
from rlcl.errors import ConfigError, RlclError
from rlcl.evaluation.results import baseline_name
from rlcl.experiment import Experiment
from rlcl.launch.build import make_trainer
from rlcl.seeding import preserved_global_state
from rlcl.types import BoundaryPolicy, Record

__all__ = ["NAME", "Baseline", "baselines_of", "check_baselines", "copied_records", "single_task_experiment"]

NAME = "baselines"  # of the experiment that all baselines belong to


@frozen
class Baseline:
    """A baseline of one column of R.

    Args:
        kind: ``single_task`` or ``joint``.
        column: the column.
        experiment: the experiment of the baseline.
    """

    kind: str
    column: int
    experiment: Experiment


def baselines_of(experiment: Experiment, seed: int, columns: int) -> tuple[Baseline, ...]:
    """Return the baselines of a run.

    Args:
        experiment: the experiment of the run.
        seed: its seed.
        columns: number of columns of R.
    """
    return tuple(
        Baseline(kind, column, _experiment(experiment, seed, kind, column))
        for kind in experiment.evaluation.baselines
        for column in range(columns)
    )


def check_baselines(experiment: Experiment, seed: int, columns: int) -> None:
    """Build the first and the last baseline of each kind, so that errors are raised before training.

    Args:
        experiment, seed, columns: see :func:`baselines_of`.

    Raises:
        ConfigError: a baseline cannot run.
    """
    for kind in experiment.evaluation.baselines:
        for column in sorted({0, columns - 1}):
            try:
                with preserved_global_state():
                    make_trainer(_experiment(experiment, seed, kind, column), seed)
            except RlclError as error:
                raise ConfigError(
                    [f"evaluation.baselines: the {kind} run of column {column} is not possible: {error}; remove {kind}"]
                ) from error


def single_task_experiment(experiment: Experiment, seed: int, column: int) -> Experiment:
    """Return the experiment of the single-task run of a column."""
    return _experiment(experiment, seed, "single_task", column)


def _experiment(experiment: Experiment, seed: int, kind: str, column: int) -> Experiment:
    """Return the experiment of a baseline."""
    plan = experiment.evaluation
    joint = kind == "joint"
    return attrs.evolve(
        experiment,
        name=NAME,
        objective=None,
        seeds=(seed,),
        batched_seeds=False,
        stream=_joint(experiment, column) if joint else _single_task(experiment, column),
        learner=attrs.evolve(experiment.learner, options=_without_methods(experiment.learner.options)),
        evaluation=attrs.evolve(
            plan,
            every="end" if joint else plan.every,
            on="all" if joint else "current",
            before=False if joint else plan.before,
            baselines=(),
            metrics=(),
            probes=(),
            online=False,
        ),
        boundary=BoundaryPolicy(),  # there is one experience
        sinks=(),
        continued_from=None,
    )


def _single_task(experiment: Experiment, column: int) -> Any:
    """Return the stream of a single-task run; a stream that knows its tasks returns one without the other tasks."""
    stream = build(experiment.stream, ("stream",))
    if hasattr(stream, "single_task"):
        alone = describe(stream.single_task(column), "stream")
        assert alone is not None
        return alone
    return component("stream", {"type": "single_task", "of": unstructure(experiment.stream), "task": column})


def _joint(experiment: Experiment, column: int) -> Any:
    of = unstructure(experiment.stream)
    return component("stream", {"type": "joint", "of": of, "experiences": column + 1})


def _without_methods(options: Any) -> Any:
    return attrs.evolve(options, methods=()) if hasattr(options, "methods") else options


def copied_records(baseline: Baseline, records: Sequence[Record]) -> Iterator[Record]:
    """Yield the records of a baseline as records of the run that refers to it.

    The names have the kind of the baseline as prefix, and both experiences are the column of the baseline. Records
    from before the training are left out.
    """
    for r in records:
        if r.trained_on >= 0:
            name = baseline_name(baseline.kind, r.metric)
            yield attrs.evolve(r, trained_on=baseline.column, evaluated_on=baseline.column, metric=name)
