"""Verdict on an objective: a pure function of the objective and of the results of the seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
from attrs import field, frozen

from rlcl.evaluation.results import Results, measure_named
from rlcl.objective.criterion import Criterion
from rlcl.objective.objective import Objective
from rlcl.statistics.intervals import SeedSummary, summarize
from rlcl.types import Record

__all__ = ["ConditionVerdict", "SeedResult", "Verdict", "format_amount", "judge_objective"]

Status = Literal["met", "not met", "undecided"]

MISSING_COST = {
    "minutes": "its time was not measured",
    "memory_mib": "its memory was not measured",
    "parameters": "the learner does not report its parameters",
    "latency_ms": "no prediction was timed: the run finished before latency_ms was set, or it makes no predictions",
}


@frozen
class SeedResult:
    """The results of one seed that an objective can refer to.

    Args:
        metrics: values of the metrics, by name.
        final: recorded performance on each experience after all training, by name of the measure; NaN if an
            experience was not evaluated.
        costs: measured value of each constraint, by name.
    """

    metrics: Mapping[str, float]
    final: Mapping[str, tuple[float, ...]] = field(factory=dict)
    costs: Mapping[str, float] = field(factory=dict)

    @classmethod
    def of(
        cls,
        records: Sequence[Record],
        measures: Sequence[str],
        metrics: Mapping[str, float],
        summary: Mapping[str, Any],
    ) -> SeedResult:
        """Return the results of a finished run.

        Args:
            records: records of the run.
            measures: names of the learner's measures.
            metrics: metrics of the run, by name.
            summary: content of its ``summary.json``.
        """
        final = {}
        for measure in measures:
            results = Results(records, measure)
            if len(results.R):
                final[measure_named(measure).name] = tuple(float(v) for v in results.sign * results.R[-1])
        return cls(metrics, final, _costs(records, summary))


def _costs(records: Sequence[Record], summary: Mapping[str, Any]) -> Mapping[str, float]:
    units = {"minutes": ("seconds", 60), "memory_mib": ("peak_memory_bytes", 2**20), "latency_ms": ("latency_ms", 1)}
    costs = {name: summary[key] / unit for name, (key, unit) in units.items() if key in summary}
    sizes = {r.step: r.value for r in records if r.metric == "parameters"}
    return costs | ({"parameters": sizes[max(sizes)]} if sizes else {})


@frozen
class ConditionVerdict:
    """The verdict on one condition of success or one constraint.

    Args:
        condition: text of the condition: ``accuracy.average >= 0.85``, ``minutes <= 5``.
        value: mean over seeds; for a constraint the maximum over seeds; None if unknown.
        low, high: confidence interval over seeds; None for a single seed and for constraints.
        status: ``met``, ``not met`` or ``undecided``.
        reason: reason why it is undecided, or the compared bound of the interval; may be empty.
    """

    condition: str
    value: float | None
    low: float | None
    high: float | None
    status: Status
    reason: str = ""

    @property
    def value_text(self) -> str:
        """The formatted value; empty if unknown."""
        return "" if self.value is None else format_amount(self.value)

    @property
    def as_json(self) -> dict[str, Any]:
        """Plain data for a file."""
        return {"said" if key == "status" else key: value for key, value in attrs.asdict(self).items()}

    def __str__(self) -> str:
        value = f" ({self.value_text})" if self.value_text else ""
        return f"{self.status}: {self.condition}{value}{f': {self.reason}' if self.reason else ''}"


def format_amount(value: float) -> str:
    """Format a value with about three digits: ``0.863``, ``43.7``, ``85,002``, ``0.0021``."""
    size = abs(value)
    integral = size >= 1000 or (size >= 10 and size == int(size))
    form = ",.0f" if integral else ".1f" if size >= 10 else ".3f" if size >= 0.01 or not size else ".2g"
    return format(value, form)


@frozen
class Verdict:
    """The verdict on an objective.

    Args:
        conditions: verdicts on the conditions of success in their order, then on the constraints.
        seeds: number of seeds.
    """

    conditions: tuple[ConditionVerdict, ...]
    seeds: int

    @property
    def status(self) -> Status:
        """``met`` if all conditions are met, ``not met`` if one is not, else ``undecided``, also without conditions."""
        statuses = {condition.status for condition in self.conditions}
        return "not met" if "not met" in statuses else "met" if statuses == {"met"} else "undecided"

    @property
    def as_json(self) -> dict[str, Any]:
        """Plain data for a file."""
        return {"said": self.status, "seeds": self.seeds, "judgements": [c.as_json for c in self.conditions]}

    def __str__(self) -> str:
        """Return a line for the objective, and one for each condition."""
        seeds = f"{self.seeds} seed{'s' * (self.seeds != 1)}"
        return "\n".join([f"objective {self.status} ({seeds})", *(f"- {c}" for c in self.conditions)])


def judge_objective(objective: Objective, results: Sequence[SeedResult]) -> Verdict:
    """Judge all conditions of success and all constraints.

    Args:
        objective: the objective.
        results: results of the finished seeds, in any order.
    """
    limits = objective.constraints.limits.items()
    conditions = [_judge_criterion(criterion, results) for criterion in objective.criteria]
    conditions += [_judge_constraint(name, limit, results) for name, limit in limits]
    return Verdict(tuple(conditions), len(results))


def _judge_criterion(criterion: Criterion, results: Sequence[SeedResult]) -> ConditionVerdict:
    """Judge a condition of success by the mean over seeds, or by the worse bound of the interval."""
    values = [value for result in results if (value := _value(criterion, result)) is not None]
    if not values or len(values) < len(results):
        return _undecided(str(criterion), _missing(criterion, len(results) - len(values), len(results)))
    summary = summarize(values)
    judged = criterion.judged_value(summary)
    if math.isnan(judged):
        return _undecided(str(criterion), "one seed has no interval; add seeds", summary)
    bound = "lower" if criterion.comparison in (">=", ">") else "upper"
    reason = f"judged by the {bound} bound of the 95 % interval over seeds, {judged:.4g}" if criterion.interval else ""
    status: Status = "met" if criterion.is_met(judged) else "not met"
    mean, low, high = map(_finite, (summary.mean, summary.low, summary.high))
    return ConditionVerdict(str(criterion), mean, low, high, status, reason)


def _value(criterion: Criterion, result: SeedResult) -> float | None:
    """Return the value of a seed that a criterion compares; None if it is missing."""
    if criterion.experience is None:
        return result.metrics.get(criterion.metric)
    row = result.final.get(criterion.metric, ())
    if criterion.experience != "each":
        row = row[criterion.experience : criterion.experience + 1]
    return criterion.worst(row) if row and not any(map(math.isnan, row)) else None


def _missing(criterion: Criterion, without: int, seeds: int) -> str:
    if not seeds:
        return "no seed has finished"
    reason = "the run does not define it" if criterion.experience is None else "it was not measured at the end"
    return reason if without == seeds else f"{reason}, in {without} of {seeds} seeds"


def _judge_constraint(name: str, limit: float, results: Sequence[SeedResult]) -> ConditionVerdict:
    """Judge a constraint by the maximum over seeds."""
    condition = f"{name} <= {limit:,.10g}"
    values = [result.costs[name] for result in results if name in result.costs]
    if not values or len(values) < len(results):
        return _undecided(condition, MISSING_COST[name] if results else "no seed has finished")
    status: Status = "met" if max(values) <= limit else "not met"
    reason = f"the maximum of {len(values)} seeds" if len(values) > 1 else ""
    return ConditionVerdict(condition, max(values), None, None, status, reason)


def _undecided(condition: str, reason: str, summary: SeedSummary | None = None) -> ConditionVerdict:
    return ConditionVerdict(condition, None if summary is None else summary.mean, None, None, "undecided", reason)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
