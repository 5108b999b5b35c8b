"""The matrix R and related quantities of one run, computed from its records."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from attrs import field, frozen

from rlcl.errors import Problem, did_you_mean
from rlcl.evaluation.measures import SCORE, Measure, environment_of
from rlcl.evaluation.metric_meaning import MetricMeaning
from rlcl.evaluation.metrics import Metric, Undefined
from rlcl.evaluation.plan import Plan
from rlcl.registry import entries, find
from rlcl.statistics.intervals import SeedSummary
from rlcl.types import Record, Sampling, Stream

__all__ = [
    "DRIFT",
    "RANDOM_RETURN",
    "REWARD",
    "TASK",
    "Results",
    "baseline_name",
    "check_measures",
    "drift_name",
    "is_reference",
    "meanings",
    "measure_named",
    "metric_named",
    "metrics",
    "online_name",
    "pooled_metrics",
    "reported_metrics",
    "undefined_metrics",
]

Array = np.ndarray[Any, Any]

DRIFT = "drift."  # prefix of the records of drifting parameters
REWARD = "reward"  # records of the total reward of training in an experience
RANDOM_RETURN = "random.return"  # records of the return of random actions
TASK = "task"  # records of the column that a row trained, in streams that visit tasks repeatedly


def measure_named(name: str) -> Measure:
    """Return the measure with a name.

    Raises:
        Problem: the name is unknown, or it refers to something other than a measure.
    """
    measure = find("measure", name)
    if not isinstance(measure, Measure):
        raise Problem(f"{name} is not a measure; define it as a rlcl.evaluation.measures.Measure")
    return measure


def metric_named(name: str) -> Metric:
    """Return the metric with a name; a plain function becomes a metric whose higher values are better.

    Raises:
        Problem: the name is unknown, or it refers to something other than a metric or a function.
    """
    metric = find("metric", name)
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, type) or not callable(metric):
        raise Problem(
            f"{name} is not a metric; define it as a rlcl.evaluation.metrics.Metric, or as a function from Results to "
            "a number whose higher values are better"
        )
    return Metric(name.rpartition(":")[2], metric)


def baseline_name(kind: str, name: str) -> str:
    """Return the name of the records that a run has of a baseline run, for records of the baseline named ``name``."""
    return f"{kind}.{name}"


def drift_name(parameter: str) -> str:
    """Return the name of the records of a drifting parameter's present value."""
    return f"{DRIFT}{parameter}"


def is_reference(metric: str) -> bool:
    """Return whether records of this name serve the computation of metrics: tasks, rewards, baselines."""
    return metric in (TASK, REWARD, RANDOM_RETURN) or metric.startswith(("single_task.", "joint.", DRIFT))


def check_measures(names: Sequence[str], learner: Any, stream: Stream, plan: Plan) -> None:
    """Check that measures exist and are defined for a prepared learner and its stream.

    Raises:
        Problem: a measure is unknown, is listed twice, or is not defined for the learner or the stream.
    """
    for index, name in enumerate(names):
        measure, where = measure_named(name), f"evaluation.measures[{index}]"
        if name in names[:index]:
            raise Problem(f"{name} is listed twice; remove one", where)
        if stream.spec.kind not in measure.kinds:
            raise Problem(
                f"{name} is not defined for this stream, which is {stream.spec.kind}; it is for "
                f"{', '.join(sorted(measure.kinds))}",
                where,
            )
        if not hasattr(learner, measure.needs):
            raise Problem(f"{name} needs a learner with the method {measure.needs}, and this one has none", where)
    if plan.actions == "sampled" and not (isinstance(learner, Sampling) and learner.samples_actions):
        raise Problem(
            "sampled actions need a learner with a stochastic policy: ppo, sac, or sb3 with such a policy",
            "evaluation.actions",
        )
    if SCORE.name in names and "return" not in names:
        for index, task in enumerate(stream.evaluated):
            if environment_of(task, plan).score_range is None:
                raise Problem(
                    f"score needs the score_range of each task, which stream.tasks[{index}] ({task.name}) does not "
                    "have; set it, or record the return, too, and set evaluation.baselines: single_task",
                    "evaluation.measures",
                )


def online_name(measure: str) -> str:
    """Return the name of the records of ``evaluation.online`` for a measure."""
    return f"{measure_named(measure).name}.online"


@frozen(eq=False)
class Results:
    """Results of one run for one measure. Higher values are better; a loss is negated.

    Args:
        records: records of the run; those of other measures are ignored.
        measure: name of the measure.
    """

    records: Sequence[Record]
    measure: str
    rows: tuple[Record, ...] = field(init=False)
    sign: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        rows = tuple(sorted((r for r in self.records if r.metric == self.measure), key=lambda r: r.step))
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "sign", float(measure_named(self.measure).sign))

    @property
    def online(self) -> str:
        """Name of the records of ``evaluation.online``."""
        return online_name(self.measure)

    @property
    def R(self) -> Array:  # noqa: N802
        """Matrix (T, J) of the performance on experience j after training on experience t; NaN if not measured.

        The rows of a drifting stream are its evaluations during and after training, :attr:`moments`.
        """
        moments = self.moments
        row_of = {step: row for row, step in enumerate(moments or ())}
        shape = (
            1 + max((r.trained_on for r in self.rows), default=-1) if moments is None else len(moments),
            1 + max((r.evaluated_on for r in self.rows), default=-1),
        )
        matrix = np.full(shape, np.nan)
        for r in self.rows:
            if r.trained_on >= 0:  # rows are sorted by step: the last one wins
                matrix[row_of.get(r.step, r.trained_on), r.evaluated_on] = self.sign * r.value
        return matrix

    @property
    def moments(self) -> tuple[int, ...] | None:
        """Steps of the evaluations of a drifting stream, without those before training; None for other streams."""
        if not any(r.metric.startswith(DRIFT) for r in self.records):
            return None
        return tuple(sorted({r.step for r in self.rows if r.trained_on >= 0}))

    def row_names(self, trained: Sequence[str]) -> list[str]:
        """Return the name of each row of R.

        Args:
            trained: names of the experiences trained on; those without a name are numbered.
        """
        if self.moments is not None:
            return [f"step {step:,}" for step in self.moments]
        return [trained[t] if t < len(trained) else f"experience {t + 1}" for t in range(len(self.R))]

    @property
    def before(self) -> Array:
        """Performance (J,) before any training; NaN if not measured."""
        values = np.full(1 + max((r.evaluated_on for r in self.rows), default=-1), np.nan)
        for r in self.rows:
            if r.trained_on == -1:
                values[r.evaluated_on] = self.sign * r.value
        return values

    @property
    def visits(self) -> tuple[int, ...]:
        """Column of R that each row trained, in order; empty if a row trained several columns or none.

        A stream that visits its tasks repeatedly has more rows than columns, and records of the metric ``task``.
        """
        if self.moments is not None:
            return ()
        matrix = self.R
        tasks = {r.trained_on: int(r.value) for r in self.records if r.metric == TASK}
        if tasks:  # rows of a continued run may have none, but the last row has one when it is finished
            rows = range(len(matrix))
            return tuple(tasks.get(t, t) for t in rows) if len(matrix) - 1 in tasks else ()
        return tuple(range(len(matrix))) if matrix.shape[0] == matrix.shape[1] else ()

    @property
    def normalized(self) -> bool:
        """See :class:`rlcl.evaluation.measures.Measure`."""
        return measure_named(self.measure).normalized

    def curve(self, row: int, column: int) -> Array:
        """Return the performance (N,) on a column in all evaluations during training on a row, and at its end."""
        values = [r.value for r in self.rows if r.trained_on == row and r.evaluated_on == column]
        return self.sign * np.array(values, dtype=np.float64)

    def baseline(self, kind: str, column: int) -> Array:
        """Return the performance (N,) on a column in all evaluations of a baseline run; empty without the run.

        Args:
            kind: ``single_task``, or ``joint``, whose last evaluation counts; see ``evaluation.baselines``.
            column: column of R that the baseline was trained for.
        """
        name = baseline_name(kind, self.measure)
        rows = sorted((r for r in self.records if r.metric == name and r.evaluated_on == column), key=lambda r: r.step)
        return self.sign * np.array([r.value for r in rows], dtype=np.float64)

    @property
    def rewards(self) -> Mapping[int, float]:
        """Total reward of training by row; empty for learners that earn none."""
        return {r.trained_on: r.value for r in self.records if r.metric == REWARD}

    @property
    def samples(self) -> Mapping[int, float]:
        """Training samples (for environments: env steps) by row."""
        return {r.trained_on: r.value for r in self.records if r.metric == "samples"}

    def baseline_reward(self, column: int) -> tuple[float, float] | None:
        """Return the total reward of training and the env steps of the single-task run of a column, if it exists."""
        values = {
            name: [r.value for r in self.records if r.metric == baseline_name("single_task", name)
                   and r.evaluated_on == column]
            for name in (REWARD, "samples")
        }  # fmt: skip
        rewards, samples = values.values()
        return (sum(rewards), sum(samples)) if rewards and samples else None

    def since(self, row: int, column: int) -> Array:
        """Return all performances on a column during training on the rows after a row."""
        return np.array([self.sign * r.value for r in self.rows if r.evaluated_on == column and r.trained_on > row])


def metrics(records: Iterable[Record], measures: Sequence[str], names: Sequence[str] = ()) -> Mapping[str, float]:
    """Compute the metrics of a run.

    Statistics of a measure are prefixed with its name (``accuracy.average``). Forgetting and transfer have no prefix
    for the first measure, and are prefixed for other measures (``linear_probe.backward_transfer``).

    Args:
        records: records of the run.
        measures: measures of the learner, the primary one first.
        names: metrics to compute, by reported name, by pattern (``*.cw``), or as ``file.py:NAME`` of a :class:`Metric`
            or a function; by default all whose ``default`` is True.

    Returns:
        Values by name, without metrics that are not defined for the run (forgetting with T = 1).

    Raises:
        Problem: a name is unknown, or a metric does not return a number or None.
    """
    records = tuple(records)
    values: dict[str, float] = {}
    results = {measure: Results(records, measure) for measure in measures}
    for measure, metric, name in _selected_metrics(measures, names):
        if metric.pooling is not None:
            continue
        value: Any = metric(results[measure])  # a function of the user may return anything
        if value is None:
            continue
        if not isinstance(value, numbers.Real):
            raise Problem(f"metric {name} must return a number or None, but returned {type(value).__name__} {value!r}")
        if math.isfinite(value):
            values[name] = float(value)
    return values


def undefined_metrics(records: Iterable[Record], measures: Sequence[str], names: Sequence[str]) -> Mapping[str, str]:
    """Return the reasons why metrics are not defined for a run, by reported name.

    Args:
        records: records of the run.
        measures: measures of the learner, the primary one first.
        names: metrics that were requested, see :func:`metrics`; empty if none was.

    Raises:
        Problem: a name is unknown.
    """
    if not names:
        return {}
    records = tuple(records)
    results = {measure: Results(records, measure) for measure in measures}
    reasons = {name: metric.undefined(results[measure]) for measure, metric, name in _selected_metrics(measures, names)}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def pooled_metrics(
    seeds: Sequence[Sequence[Record]], measures: Sequence[str], names: Sequence[str] = ()
) -> Mapping[str, SeedSummary]:
    """Compute the metrics of an experiment that are not means over its seeds, by reported name.

    Args:
        seeds: records of each seed.
        measures: measures of the learner, the primary one first.
        names: requested metrics, see :func:`metrics`.
    """
    values = {}
    for measure, metric, name in _selected_metrics(measures, names):
        if metric.pooling is not None:
            with suppress(Undefined):
                values[name] = metric.pooling.summary([Results(records, measure) for records in seeds])
    return values


def reported_metrics(measures: Sequence[str], names: Sequence[str] = ()) -> Mapping[str, Metric]:
    """Return metrics by reported name, selected as by :func:`metrics`.

    Raises:
        Problem: a metric is unknown.
    """
    return {name: metric for _, metric, name in _selected_metrics(measures, names)}


def meanings(measures: Sequence[str], names: Sequence[str] = ()) -> Mapping[str, MetricMeaning]:
    """Return the meaning of each metric by reported name.

    Raises:
        Problem: a metric or measure is unknown.
    """
    return {
        name: MetricMeaning.of(metric, measure, measure_named(measure))
        for measure, metric, name in _selected_metrics(measures, names)
    }


def _selected_metrics(measures: Sequence[str], names: Sequence[str]) -> list[tuple[str, Metric, str]]:
    """Return the selected metrics as (name of the measure, metric, reported name)."""
    available: dict[str, tuple[str, Metric, str]] = {}
    for index, measure in enumerate(measures):
        for name in entries("metric"):
            metric = metric_named(name)
            if index > 0 and metric.scope == "training":
                continue
            reported_name = _reported_name(metric, measure, index > 0)
            available[reported_name] = (measure, metric, reported_name)
    if not names:
        return [entry for entry in available.values() if entry[1].default]
    selected = []
    for name in names:
        # A pattern refers to the primary measure, unless it begins with the name of another one.
        matching = [
            entry
            for reported_name, entry in available.items()
            if fnmatchcase(reported_name, name)
            and (reported_name == name or entry[0] == measures[0] or name.startswith(f"{entry[0]}."))
        ]
        if matching:
            selected += [entry for entry in matching if entry not in selected]
        elif ":" in name:
            metric = metric_named(name)
            selected.append((measures[0], metric, _reported_name(metric, measures[0], False)))
        else:
            remedy = did_you_mean(name, available) or "; rlcl list metric lists them"
            raise Problem(f"unknown metric {name!r}{remedy}", "evaluation.metrics")
    return selected


def _reported_name(metric: Metric, measure: str, prefixed: bool) -> str:
    """Return the name of a metric in reports, with the measure as prefix if ``prefixed`` or if that is its scope."""
    return f"{measure_named(measure).name}.{metric.name}" if prefixed or metric.scope == "measure" else metric.name
