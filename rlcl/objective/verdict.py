"""Whether an objective was reached: a pure function of what is asked and what the seeds came to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
from attrs import field, frozen

from rlcl.evaluation.results import Results, measure_named
from rlcl.objective.criterion import Criterion
from rlcl.objective.objective import Objective
from rlcl.statistics.intervals import Summary, summarize
from rlcl.types import Record

__all__ = ["Judgement", "Result", "Verdict", "amount", "verdict"]

Said = Literal["met", "not met", "undecided"]

UNKNOWN = {
    "minutes": "its time was not taken",
    "memory_mib": "its memory was not measured",
    "parameters": "the learner does not tell its parameters",
    "latency_ms": "no prediction was timed: it had finished before this was asked, or predicts nothing",
}


@frozen
class Result:
    """What one seed came to, as far as an objective can ask.

    Args:
        metrics: by name.
        last: of each measure (by name) the performance on each experience after all training, as it is
            recorded; NaN where absent.
        spent: of each constraint (by name) what was measured.
    """

    metrics: Mapping[str, float]
    last: Mapping[str, tuple[float, ...]] = field(factory=dict)
    spent: Mapping[str, float] = field(factory=dict)

    @classmethod
    def of(
        cls,
        records: Sequence[Record],
        measures: Sequence[str],
        metrics: Mapping[str, float],
        summary: Mapping[str, Any],
    ) -> Result:
        """
        Args:
            records: of one finished run.
            measures: the learner's.
            metrics: of the run, by name.
            summary: its ``summary.json``.
        """
        last = {}
        for measure in measures:
            results = Results(records, measure)
            if len(results.R):
                last[measure_named(measure).name] = tuple(float(v) for v in results.sign * results.R[-1])
        return cls(metrics, last, _spent(records, summary))


def _spent(records: Sequence[Record], summary: Mapping[str, Any]) -> Mapping[str, float]:
    units = {"minutes": ("seconds", 60), "memory_mib": ("peak_memory_bytes", 2**20), "latency_ms": ("latency_ms", 1)}
    found = {name: summary[key] / unit for name, (key, unit) in units.items() if key in summary}
    sizes = {r.step: r.value for r in records if r.metric == "parameters"}
    return found | ({"parameters": sizes[max(sizes)]} if sizes else {})


@frozen
class Judgement:
    """One condition of success or one constraint, judged.

    Args:
        condition: as it is written: ``accuracy.average >= 0.85``, ``minutes <= 5``.
        value: the mean over seeds, of a constraint the most of all seeds; None where unknown.
        low, high: the interval over seeds; None with a single one and for constraints.
        said: ``met``, ``not met`` or ``undecided``.
        reason: why it is undecided, or which end of the interval was judged; may be empty.
    """

    condition: str
    value: float | None
    low: float | None
    high: float | None
    said: Said
    reason: str = ""

    @property
    def shown(self) -> str:
        """The value for people; empty where unknown."""
        return "" if self.value is None else amount(self.value)

    def __str__(self) -> str:
        value = f" ({self.shown})" if self.shown else ""
        return f"{self.said}: {self.condition}{value}{f': {self.reason}' if self.reason else ''}"


def amount(value: float) -> str:
    """As much of a value as a person reads: ``0.863``, ``43.7``, ``85,002``, ``0.0021``."""
    size = abs(value)
    whole = size >= 1000 or (size >= 10 and size == int(size))
    form = ",.0f" if whole else ".1f" if size >= 10 else ".3f" if size >= 0.01 or not size else ".2g"
    return format(value, form)


@frozen
class Verdict:
    """Every condition and constraint of an objective, judged.

    Args:
        judgements: conditions of success in their order, then constraints.
        seeds: how many it is over.
    """

    judgements: tuple[Judgement, ...]
    seeds: int

    @property
    def said(self) -> Said:
        """``not met`` where anything is not, else ``undecided`` where anything is; with nothing to judge too."""
        each = {judgement.said for judgement in self.judgements}
        return "not met" if "not met" in each else "met" if each == {"met"} else "undecided"

    @property
    def as_json(self) -> dict[str, Any]:
        """As plain data for a file."""
        return {"said": self.said, "seeds": self.seeds, "judgements": [attrs.asdict(j) for j in self.judgements]}

    def __str__(self) -> str:
        """A line for the whole, and one for each."""
        seeds = f"{self.seeds} seed{'s' * (self.seeds != 1)}"
        return "\n".join([f"objective {self.said} ({seeds})", *(f"- {j}" for j in self.judgements)])


def verdict(objective: Objective, results: Sequence[Result]) -> Verdict:
    """Judges every condition of success and every constraint.

    Args:
        objective: what is asked.
        results: one a finished seed; the order does not matter.
    """
    limits = objective.constraints.limits.items()
    judgements = [_judged(criterion, results) for criterion in objective.criteria]
    judgements += [_held(name, limit, results) for name, limit in limits]
    return Verdict(tuple(judgements), len(results))


def _judged(criterion: Criterion, results: Sequence[Result]) -> Judgement:
    """A condition of success by the mean over seeds, or by the interval's worse end."""
    values = [value for result in results if (value := _value(criterion, result)) is not None]
    if not values or len(values) < len(results):
        return _undecided(str(criterion), _missing(criterion, len(results) - len(values), len(results)))
    summary = summarize(values)
    judged = criterion.judged_by(summary)
    if math.isnan(judged):
        return _undecided(str(criterion), "one seed has no interval; add seeds", summary)
    end = "lower" if criterion.comparison in (">=", ">") else "upper"
    reason = f"judged by the {end} end of the 95 % interval over seeds, {judged:.4g}" if criterion.interval else ""
    said: Said = "met" if criterion.met(judged) else "not met"
    return Judgement(str(criterion), _finite(summary.mean), _finite(summary.low), _finite(summary.high), said, reason)


def _value(criterion: Criterion, result: Result) -> float | None:
    """What a seed has of what a criterion compares; None where it has not."""
    if criterion.experience is None:
        return result.metrics.get(criterion.metric)
    row = result.last.get(criterion.metric, ())
    if criterion.experience != "each":
        row = row[criterion.experience : criterion.experience + 1]
    return criterion.worst(row) if row and not any(map(math.isnan, row)) else None


def _missing(criterion: Criterion, without: int, seeds: int) -> str:
    if not seeds:
        return "no seed has finished"
    what = "the run does not define it" if criterion.experience is None else "it was not measured at the end"
    return what if without == seeds else f"{what}, in {without} of {seeds} seeds"


def _held(name: str, limit: float, results: Sequence[Result]) -> Judgement:
    """A constraint by the seed that needs most."""
    condition = f"{name} <= {limit:,.10g}"
    values = [result.spent[name] for result in results if name in result.spent]
    if not values or len(values) < len(results):
        return _undecided(condition, UNKNOWN[name] if results else "no seed has finished")
    said: Said = "met" if max(values) <= limit else "not met"
    return Judgement(condition, max(values), None, None, said, f"the most of {len(values)} seeds" * (len(values) > 1))


def _undecided(condition: str, reason: str, summary: Summary | None = None) -> Judgement:
    return Judgement(condition, None if summary is None else summary.mean, None, None, "undecided", reason)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
