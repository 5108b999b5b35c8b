"""Feasibility check of an objective before the experiment runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

from attrs import frozen

from rlcl.config import key_path
from rlcl.evaluation.measures import Measure, source_of
from rlcl.evaluation.metrics import ONLINE, UNKNOWN, Metric, Span
from rlcl.evaluation.results import (
    REWARD,
    TASK,
    baseline_name,
    meanings,
    measure_named,
    metrics,
    online_name,
    reported_metrics,
)
from rlcl.experiment import Experiment
from rlcl.launch.estimate import Estimate
from rlcl.objective import ConditionVerdict, Criterion, Objective, SeedResult, format_amount, judge_objective
from rlcl.statistics.intervals import normal_quantile
from rlcl.training.trainer import Trainer
from rlcl.types import Earning, OnlineTesting, Record, Spending

__all__ = ["Forecast", "forecasts", "needed_share", "planned_records"]

Level = Literal["good", "remark", "fault"]


@frozen
class Forecast:
    """Forecast for one condition or constraint of an objective.

    Args:
        where: its key path.
        condition: the condition as text.
        level: ``fault`` if it cannot be met or decided, ``remark`` if it deserves attention, else ``good``.
        message: the forecast; for a fault, the remedy too.
    """

    where: str
    condition: str
    level: Level
    message: str


def forecasts(experiment: Experiment, trainer: Trainer, cost: Estimate) -> list[Forecast]:
    """Return a forecast for each condition and constraint of an experiment's objective, in order.

    Args:
        experiment: the experiment with the objective.
        trainer: a trainer built from it; it may have been used by :func:`rlcl.launch.estimate.estimate`.
        cost: the estimated cost of the run.
    """
    objective = experiment.objective or Objective()
    records, measures = planned_records(trainer), trainer.measures
    planned = SeedResult.of(records, measures, metrics(records, measures, experiment.evaluation.metrics), {})
    verdict = judge_objective(Objective(success=objective.success), [planned] * len(experiment.seeds))
    condition_forecasts = []
    for index, criterion in enumerate(objective.criteria):
        where = key_path(("objective", "success", index))
        level, message = _criterion_forecast(criterion, verdict.conditions[index], trainer)
        condition_forecasts.append(Forecast(where, str(criterion), level, message))
    return condition_forecasts + list(_constraint_forecasts(objective, trainer, cost))


def planned_records(trainer: Trainer) -> tuple[Record, ...]:
    """Return the records that the evaluation plan will produce, each with the placeholder value 0.5."""
    measures, records = trainer.measures, []
    online = trainer.evaluation.online and isinstance(trainer.learner, OnlineTesting)
    for t in range(-1, len(trainer.stream)):
        experiences = trainer._evaluated_experiences(t) if trainer._is_planned(t, ending=True) else ()
        keys = [(e.index, name) for e in experiences for name in measures]
        if t >= 0 and (task := trainer.visited_task(t)) is not None:
            records.append(Record(trainer.run, trainer.seed, t + 1, t, t, TASK, float(task)))
        if t >= 0 and isinstance(trainer.learner, Earning):
            keys += [(t, REWARD), (t, "samples")]
        if online and t >= 0:
            keys.append((t, online_name(measures[0])))
        records += [Record(trainer.run, trainer.seed, t + 1, t, index, name, 0.5) for index, name in keys]
    for kind in trainer.evaluation.baselines:
        names = [baseline_name(kind, name) for name in (*measures, REWARD, "samples")]
        columns = range(len(trainer.stream.evaluated))
        records += [Record(trainer.run, trainer.seed, 1, j, j, name, 0.5) for j in columns for name in names]
    return tuple(records)


def _criterion_forecast(criterion: Criterion, planned: ConditionVerdict, trainer: Trainer) -> tuple[Level, str]:
    if planned.status == "undecided" and planned.value is not None:  # a single seed has no interval
        return "fault", f"cannot be decided: {planned.reason}"
    if planned.status == "undecided":
        metric = _metrics(trainer).get(criterion.metric) if criterion.experience is None else None
        remedy = "set evaluation.online" if metric is ONLINE else "evaluate more"
        reason = f"cannot be decided by {_plan_text(trainer)}: {planned.reason}"
        return "fault", f"{reason}; {remedy}, or use another metric"
    low, high = _range(criterion, trainer)
    reach = (criterion.is_met(low), criterion.is_met(high), low <= criterion.number <= high)
    if not any(reach if criterion.comparison == "==" else reach[:2]):
        return "fault", f"cannot be met: {criterion.subject} lies between {low:g} and {high:g}"
    if all(reach[:2]):
        negated = " (a loss enters metrics negated)" if high == 0 else ""
        return "remark", f"is always met: {criterion.subject} lies between {low:g} and {high:g}{negated}"
    return _sample_forecast(criterion, trainer) if criterion.interval else ("good", "can be decided")


def _plan_text(trainer: Trainer) -> str:
    """Describe the evaluation plan in a few words."""
    plan, count = trainer.evaluation, len(trainer.stream)
    times = "at the end" if plan.every == "end" else "at each boundary"
    conjunction = "and" if plan.before else "not"
    return f"{count} experience{'s' * (count > 1)}, evaluated on {plan.on} {times}, {conjunction} before training"


def _metrics(trainer: Trainer) -> Mapping[str, Metric]:
    """Return the metrics of a run by the names under which it reports them."""
    return reported_metrics(trainer.measures, trainer.evaluation.metrics)


def _measure(criterion: Criterion, trainer: Trainer) -> Measure | None:
    """Return the measure behind a criterion: its own, or the one averaged over experiences; None for other metrics."""
    measures = [measure_named(name) for name in trainer.measures]
    if criterion.experience is not None:
        return next(measure for measure in measures if measure.name == criterion.metric)
    if _metrics(trainer)[criterion.metric].scope == "run":
        return None
    return next((measure for measure in measures if criterion.metric.startswith(f"{measure.name}.")), None)


def _range(criterion: Criterion, trainer: Trainer) -> Span:
    """Return the range of the value that a criterion compares; infinite if it is unknown."""
    if criterion.experience is None:
        return meanings(trainer.measures, trainer.evaluation.metrics)[criterion.metric].range
    measure = _measure(criterion, trainer)
    return UNKNOWN if measure is None else measure.range


def _sample_forecast(criterion: Criterion, trainer: Trainer) -> tuple[Level, str]:
    """Check that there are enough test samples for the interval, since an interval over seeds ignores their number."""
    samples = _effective_samples(criterion, trainer)
    if samples is None:
        return "good", "can be decided"
    is_lower_bound = criterion.comparison in (">=", ">")
    number = criterion.number if is_lower_bound else 1 - criterion.number
    share = needed_share(number, samples)
    if share > 1:
        required = math.ceil(number * normal_quantile() ** 2 / (1 - number))
        return "fault", (
            f"{samples:,.0f} test samples are too few: even a perfect result leaves {criterion.number:g} within its "
            f"95 % binomial interval; use at least {required:,}, or relax the condition"
        )
    bound = f"at least {share:.3f}" if is_lower_bound else f"at most {1 - share:.3f}"
    return "remark", f"with {samples:,.0f} test samples, a share of {bound} would be certain at 95 % (binomial)"


def needed_share(number: float, samples: float) -> float:
    """Return the minimum share of samples whose Wilson interval has its lower end at a number; above 1 if none has.

    Args:
        number: the lower end of the interval, in [0, 1].
        samples: number of samples, at least 1.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    return number + normal_quantile() * math.sqrt(number * (1 - number) / samples)


def _effective_samples(criterion: Criterion, trainer: Trainer) -> float | None:
    """Return the number of test samples behind a criterion's value; None if the value is not a share of samples.

    For a mean over experiences, it is the number of samples of a single share with the same variance.
    """
    measure = _measure(criterion, trainer)
    if measure is None or not measure.share:
        return None
    sources = [source_of(e, trainer.evaluation) for e in trainer.stream.evaluated]
    sizes = [len(source) for source in sources if source.kind == "arrays"]
    if not sizes or not all(sizes):
        return None
    if criterion.experience is None:
        return float(len(sizes) ** 2 / sum(1 / size for size in sizes))
    return float(min(sizes) if criterion.experience == "each" else sizes[criterion.experience])


def _constraint_forecasts(objective: Objective, trainer: Trainer, cost: Estimate) -> Iterator[Forecast]:
    learner = trainer.learner
    expected = {
        "minutes": None if cost.seconds is None else cost.seconds / 60,
        "memory_mib": cost.memory / 2**20,
        "parameters": learner.costs().parameters if isinstance(learner, Spending) else None,
        "latency_ms": cost.latency_ms,
    }
    for name, limit in objective.constraints.limits.items():
        value = expected[name]
        where, condition = key_path(("objective", "constraints", name)), f"{name} <= {limit:,.10g}"
        if value is None:
            yield Forecast(where, condition, "remark", "not known before the run")
            continue
        message, exceeds = f"about {format_amount(value)} expected", value > limit
        remedy = f"; {REMEDIES[name]}, or raise the limit" if exceeds else ""
        yield Forecast(where, condition, "fault" if exceeds else "good", message + remedy)


REMEDIES = {
    "minutes": "reduce the budget or evaluate less",
    "memory_mib": "use a smaller network, smaller replay buffers or less data",
    "parameters": "make learner.network smaller",
    "latency_ms": "make learner.network or the encoder smaller",
}
