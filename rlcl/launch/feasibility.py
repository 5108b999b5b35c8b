"""Whether an objective can be reached at all, judged before anything long runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

from attrs import frozen

from rlcl.config import key_path
from rlcl.evaluation.measures import Measure, source_of
from rlcl.evaluation.metrics import ONLINE, UNKNOWN, Metric, Span
from rlcl.evaluation.results import meanings, measure_named, metrics, online_name, reported
from rlcl.experiment import Experiment
from rlcl.launch.estimate import Estimate
from rlcl.objective import Criterion, Judgement, Objective, Result, amount, verdict
from rlcl.statistics.intervals import normal_quantile
from rlcl.training.trainer import Trainer
from rlcl.types import Online, Record, Spending

__all__ = ["Forecast", "forecasts", "needed_share", "planned_records"]

Level = Literal["good", "remark", "fault"]


@frozen
class Forecast:
    """What is foreseen of one condition or constraint.

    Args:
        where: its key path.
        condition: as it is written.
        level: ``fault`` where it cannot be met or decided, ``remark`` where there is something to know.
        told: what is foreseen; of a fault the remedy too.
    """

    where: str
    condition: str
    level: Level
    told: str


def forecasts(experiment: Experiment, trainer: Trainer, found: Estimate) -> list[Forecast]:
    """Every condition and constraint of an experiment's objective, in order.

    Args:
        experiment: its objective is looked at.
        trainer: built from it; a trainer that :func:`rlcl.launch.estimate.estimate` has spent serves too.
        found: what it will cost.
    """
    objective = experiment.objective or Objective()
    records, measures = planned_records(trainer), tuple(trainer.learner.measures)
    planned = Result.of(records, measures, metrics(records, measures, experiment.evaluation.metrics), {})
    judged = verdict(Objective(success=objective.success), [planned] * len(experiment.seeds))
    told = []
    for index, criterion in enumerate(objective.criteria):
        where = key_path(("objective", "success", index))
        told.append(Forecast(where, str(criterion), *_of_criterion(criterion, judged.judgements[index], trainer)))
    return told + list(_of_constraints(objective, trainer, found))


def planned_records(trainer: Trainer) -> tuple[Record, ...]:
    """The records that the evaluation plan will give, each of the value 1/2."""
    measures, found = tuple(trainer.learner.measures), []
    online = trainer.evaluation.online and isinstance(trainer.learner, Online)
    for t in range(-1, len(trainer.stream)):
        columns = trainer._evaluated(t) if trainer._planned(t, ending=True) else ()
        told = [(e.index, name) for e in columns for name in measures]
        if online and t >= 0:
            told.append((t, online_name(measures[0])))
        found += [Record(trainer.run, trainer.seed, t + 1, t, place, name, 0.5) for place, name in told]
    return tuple(found)


def _of_criterion(criterion: Criterion, planned: Judgement, trainer: Trainer) -> tuple[Level, str]:
    if planned.said == "undecided" and planned.value is not None:  # by one seed
        return "fault", f"cannot be decided: {planned.reason}"
    if planned.said == "undecided":
        asked = _metrics(trainer).get(criterion.metric) if criterion.experience is None else None
        remedy = "set evaluation.online" if asked is ONLINE else "evaluate more"
        reason = f"cannot be decided by {_planned(trainer)}: {planned.reason}"
        return "fault", f"{reason}; {remedy}, or ask for another metric"
    low, high = _range(criterion, trainer)
    reach = (criterion.met(low), criterion.met(high), low <= criterion.number <= high)
    if not any(reach if criterion.comparison == "==" else reach[:2]):
        return "fault", f"cannot be met: {criterion.subject} lies between {low:g} and {high:g}"
    if all(reach[:2]):
        negated = " (a loss enters metrics negated)" if high == 0 else ""
        return "remark", f"is always met: {criterion.subject} lies between {low:g} and {high:g}{negated}"
    return _of_sample(criterion, trainer) if criterion.interval else ("good", "can be decided")


def _planned(trainer: Trainer) -> str:
    """What is evaluated, in a few words."""
    plan, count = trainer.evaluation, len(trainer.stream)
    moments = "at the end" if plan.every == "end" else "at each boundary"
    before = "and" if plan.before else "not"
    return f"{count} experience{'s' * (count > 1)}, evaluated on {plan.on} {moments}, {before} before training"


def _metrics(trainer: Trainer) -> Mapping[str, Metric]:
    """The metrics of a run by the names under which it reports them."""
    return reported(trainer.learner.measures, trainer.evaluation.metrics)


def _measure(criterion: Criterion, trainer: Trainer) -> Measure | None:
    """The measure that a criterion's value is of, or the mean over experiences of it; None of any other metric."""
    measures = [measure_named(name) for name in trainer.learner.measures]
    if criterion.experience is not None:
        return next(measure for measure in measures if measure.name == criterion.metric)
    if _metrics(trainer)[criterion.metric].scope == "run":
        return None
    return next((measure for measure in measures if criterion.metric.startswith(f"{measure.name}.")), None)


def _range(criterion: Criterion, trainer: Trainer) -> Span:
    """Between which numbers what is compared must lie; infinite where that is not known."""
    if criterion.experience is None:
        return meanings(trainer.learner.measures, trainer.evaluation.metrics)[criterion.metric].range
    measure = _measure(criterion, trainer)
    return UNKNOWN if measure is None else measure.range


def _of_sample(criterion: Criterion, trainer: Trainer) -> tuple[Level, str]:
    """Whether there are enough test samples for the interval asked: the seeds' interval does not know how few."""
    samples = _samples(criterion, trainer)
    if samples is None:
        return "good", "can be decided"
    above = criterion.comparison in (">=", ">")
    number = criterion.number if above else 1 - criterion.number
    share = needed_share(number, samples)
    if share > 1:
        enough = math.ceil(number * normal_quantile() ** 2 / (1 - number))
        return "fault", (
            f"{samples:,.0f} test samples are too few: even a perfect result leaves {criterion.number:g} within its "
            f"95 % binomial interval; give it at least {enough:,}, or ask for less"
        )
    reach = f"at least {share:.3f}" if above else f"at most {1 - share:.3f}"
    return "remark", f"of {samples:,.0f} test samples: a share of {reach} would be sure at 95 % (binomial)"


def needed_share(number: float, samples: float) -> float:
    """The least share of samples whose Wilson interval has its lower end at a number; above 1 where there is none.

    Args:
        number: in [0, 1].
        samples: at least 1.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    return number + normal_quantile() * math.sqrt(number * (1 - number) / samples)


def _samples(criterion: Criterion, trainer: Trainer) -> float | None:
    """Test samples behind what is compared; of a mean over experiences as many as would vary as much.

    None where what is compared is no share of samples.
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


def _of_constraints(objective: Objective, trainer: Trainer, found: Estimate) -> Iterator[Forecast]:
    learner = trainer.learner
    foreseen = {
        "minutes": None if found.seconds is None else found.seconds / 60,
        "memory_mib": found.memory / 2**20,
        "parameters": learner.costs().parameters if isinstance(learner, Spending) else None,
        "latency_ms": found.latency_ms,
    }
    for name, limit in objective.constraints.limits.items():
        value = foreseen[name]
        where, condition = key_path(("objective", "constraints", name)), f"{name} <= {limit:,.10g}"
        if value is None:
            yield Forecast(where, condition, "remark", "not known before the run")
            continue
        told, over = f"about {amount(value)} foreseen", value > limit
        remedy = f"; {REMEDIES[name]}, or allow more" if over else ""
        yield Forecast(where, condition, "fault" if over else "good", told + remedy)


REMEDIES = {
    "minutes": "shorten budget or evaluate less",
    "memory_mib": "make network, memories or data smaller",
    "parameters": "make learner.network smaller",
    "latency_ms": "make learner.network or the encoder smaller",
}
