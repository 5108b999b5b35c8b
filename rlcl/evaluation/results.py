"""R and its companions, out of the records of one run."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen

from rlcl.errors import Problem, did_you_mean
from rlcl.evaluation.measures import Measure
from rlcl.registry import entries, find
from rlcl.types import Record

__all__ = ["Results", "check_metrics", "measure_named", "metrics", "reported_names"]

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
        object.__setattr__(self, "sign", 1.0 if measure_named(self.measure).higher_is_better else -1.0)

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
        names: what to compute, as they are reported or as ``file.py:function``; all built-in ones
            by default.

    Returns:
        Names to values, without those that the run does not define (forgetting with T = 1).

    Raises:
        Problem: an unknown name, or a metric that gives no number.
    """
    records = tuple(records)
    values: dict[str, float] = {}
    results = {measure: Results(records, measure) for measure in measures}
    for measure, metric, reported in _selected(measures, names):
        value = find("metric", metric)(results[measure])
        if value is None:
            continue
        if not isinstance(value, numbers.Real):
            raise Problem(f"metric {reported} must give one number or None, got {type(value).__name__} {value!r}")
        if math.isfinite(value):
            values[reported] = float(value)
    return values


OWN = frozenset({"average", "incremental", "learning", "min", "worst_case", "online"})


def reported_names(measures: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The names under which metrics are reported, as :func:`metrics` selects them."""
    return tuple(reported for _, _, reported in _selected(measures, names))


def check_metrics(measures: Sequence[str], names: Sequence[str]) -> None:
    """Raises Problem for a metric that there is not, before anything is trained."""
    for _, metric, _ in _selected(measures, names):
        find("metric", metric)


def _selected(measures: Sequence[str], names: Sequence[str]) -> list[tuple[str, str, str]]:
    """(measure, metric, reported name) triples."""
    offered: dict[str, tuple[str, str, str]] = {}
    for place, measure in enumerate(measures):
        for metric in entries("metric"):
            reported = f"{measure_named(measure).name}.{metric}" if metric in OWN or place else metric
            offered[reported] = (measure, metric, reported)
    if not names:
        return list(offered.values())
    chosen = []
    for name in names:
        if name not in offered and ":" not in name:
            raise Problem(f"unknown metric {name!r}{did_you_mean(name, offered)}", "evaluation.metrics")
        chosen.append(offered.get(name, (measures[0], name, name.rpartition(":")[2])))
    return chosen
