"""R and its companions, out of the records of one run."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen

from rlcl.errors import Problem, did_you_mean
from rlcl.evaluation.meaning import Meaning
from rlcl.evaluation.measures import Measure
from rlcl.evaluation.metrics import Metric
from rlcl.registry import entries, find
from rlcl.types import Record

__all__ = [
    "Results",
    "meanings",
    "measure_named",
    "metric_named",
    "metrics",
    "online_name",
    "reported",
]

Array = np.ndarray[Any, Any]


def measure_named(name: str) -> Measure:
    """The measure that records of that name come from.

    Raises:
        Problem: there is none of that name, or it is something else.
    """
    measure = find("measure", name)
    if not isinstance(measure, Measure):
        raise Problem(f"{name} is no measure; make one with rlcl.evaluation.measures.Measure")
    return measure


def metric_named(name: str) -> Metric:
    """The metric of a name; a plain function is one whose higher values are better.

    Raises:
        Problem: there is none of that name, or it is something else.
    """
    found = find("metric", name)
    if isinstance(found, Metric):
        return found
    if isinstance(found, type) or not callable(found):
        raise Problem(
            f"{name} is no metric; make one with rlcl.evaluation.metrics.Metric, or name a function of Results to a "
            "number, of which higher values are better"
        )
    return Metric(name.rpartition(":")[2], found)


def online_name(measure: str) -> str:
    """The name of the records of ``evaluation.online``, for a measure."""
    return f"{measure_named(measure).name}.online"


@frozen(eq=False)
class Results:
    """What the records say of one measure, higher being better: a loss is negated.

    Args:
        records: of one run; those of other measures are passed over.
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
        """The name of the records of how well examples were predicted before their updates."""
        return online_name(self.measure)

    @property
    def R(self) -> Array:  # noqa: N802
        """(T, J): performance on experience j after training on experience t; NaN where absent."""
        shape = (
            1 + max((r.trained_on for r in self.rows), default=-1),
            1 + max((r.evaluated_on for r in self.rows), default=-1),
        )
        matrix = np.full(shape, np.nan)
        for r in self.rows:
            if r.trained_on >= 0:
                matrix[r.trained_on, r.evaluated_on] = self.sign * r.value  # in order of step: the last one stays
        return matrix

    @property
    def before(self) -> Array:
        """(J,): performance before any training; NaN where it was not measured."""
        values = np.full(1 + max((r.evaluated_on for r in self.rows), default=-1), np.nan)
        for r in self.rows:
            if r.trained_on == -1:
                values[r.evaluated_on] = self.sign * r.value
        return values

    def after(self, experience: int, until: int) -> Array:
        """All performances on an experience while later ones, up to ``until``, were trained on."""
        return np.array(
            [
                self.sign * r.value
                for r in self.rows
                if r.evaluated_on == experience and experience < r.trained_on <= until
            ]
        )


def metrics(records: Iterable[Record], measures: Sequence[str], names: Sequence[str] = ()) -> Mapping[str, float]:
    """Every metric of a run.

    The measure's own statistics carry its name (``accuracy.average``). Forgetting and transfer are
    about the first measure, and carry the names of the others (``linear_probe.backward_transfer``).

    Args:
        records: of one run.
        measures: the learner's, the decisive one first.
        names: what to compute, as they are reported or as ``file.py:NAME`` of a :class:`Metric` or a function; all
            built-in ones by default.

    Returns:
        Names to values, without those that the run does not define (forgetting with T = 1).

    Raises:
        Problem: an unknown name, or a metric that gives no number.
    """
    records = tuple(records)
    values: dict[str, float] = {}
    results = {measure: Results(records, measure) for measure in measures}
    for measure, metric, reported in _selected(measures, names):
        value: Any = metric(results[measure])  # of a file of the user's, which may give anything
        if value is None:
            continue
        if not isinstance(value, numbers.Real):
            raise Problem(f"metric {reported} must give one number or None, got {type(value).__name__} {value!r}")
        if math.isfinite(value):
            values[reported] = float(value)
    return values


def reported(measures: Sequence[str], names: Sequence[str] = ()) -> Mapping[str, Metric]:
    """The metrics by the names under which they are reported, as :func:`metrics` selects them.

    Raises:
        Problem: a metric that there is not.
    """
    return {name: metric for _, metric, name in _selected(measures, names)}


def meanings(measures: Sequence[str], names: Sequence[str] = ()) -> Mapping[str, Meaning]:
    """What each metric means, by the name under which it is reported.

    Raises:
        Problem: a metric or a measure that there is not.
    """
    return {
        name: Meaning.of(metric, measure, measure_named(measure))
        for measure, metric, name in _selected(measures, names)
    }


def _selected(measures: Sequence[str], names: Sequence[str]) -> list[tuple[str, Metric, str]]:
    """(measure, metric, reported name) triples."""
    offered: dict[str, tuple[str, Metric, str]] = {}
    for place, measure in enumerate(measures):
        for name in entries("metric"):
            metric = metric_named(name)
            called = _reported_as(metric, measure, place > 0)
            offered[called] = (measure, metric, called)
    if not names:
        return list(offered.values())
    chosen = []
    for name in names:
        if name in offered:
            chosen.append(offered[name])
        elif ":" in name:
            metric = metric_named(name)
            chosen.append((measures[0], metric, _reported_as(metric, measures[0], False)))
        else:
            raise Problem(f"unknown metric {name!r}{did_you_mean(name, offered)}", "evaluation.metrics")
    return chosen


def _reported_as(metric: Metric, measure: str, prefixed: bool) -> str:
    return f"{measure_named(measure).name}.{metric.name}" if prefixed or metric.scope == "measure" else metric.name
