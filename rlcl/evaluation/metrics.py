"""Metrics of a run, each with its formula, range and source, and whether higher or lower values are better.

A metric is a :class:`Metric` object with a pure function of the results of one run. R[t, j] is the performance on
experience j after training on experience t; higher is better. An entry that was not measured is NaN, and is left out of
means, maxima and minima. A metric that is not defined for a run is None, for example forgetting after one experience,
or transfer without an evaluation before training.

If the stream visits tasks repeatedly, R has a row per visit and a column per task. R[j, j] then means the performance
on task j at the end of its last visit, and "j < T-1" the tasks whose last visit does not end the stream.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from attrs import field, frozen

if TYPE_CHECKING:  # so that commands that list and compare runs do not import torch
    from rlcl.evaluation.measures import Measure
    from rlcl.evaluation.results import Results

__all__ = [
    "PERFORMANCE",
    "TOPICS",
    "Better",
    "Metric",
    "Span",
    "Topic",
    "Undefined",
    "check_span",
    "sign_of",
]

Array = np.ndarray[Any, Any]
Better = Literal["higher", "lower"]
Span = tuple[float, float]
Topic = Literal["performance", "forgetting", "transfer"]

PERFORMANCE: Topic = "performance"
TOPICS: tuple[Topic, ...] = ("forgetting", "transfer")  # all topics other than performance
UNKNOWN: Span = (-math.inf, math.inf)
NAME = r"[A-Za-z_]\w*(\.\w+)*"  # names that a success criterion can refer to


NOT_EVALUATED = "no entry of R that it needs was evaluated; see evaluation.every, on and before"


class Undefined(ValueError):
    """Raised by the function of a metric that is not defined for a run, with the reason."""


def sign_of(better: Better) -> int:
    """Return 1 if higher values are better, -1 if lower values are better."""
    return 1 if better == "higher" else -1


def check_span(span: Span) -> None:
    """Check that a range is two numbers, the lower one first.

    Raises:
        ValueError: the range is not valid.
    """
    if len(span) != 2 or not span[0] < span[1]:
        raise ValueError(f"range: expected (low, high) with low < high, got {span!r}")


@frozen
class Metric:
    """A number that summarizes a run, computed from its records.

    Args:
        name: name in reports; with scope ``measure`` it is prefixed with the name of the measure.
        function: function from :class:`rlcl.evaluation.results.Results` to the value, or to None if the metric is not
            defined for the run. It may raise :class:`Undefined` with the reason instead.
        better: ``higher`` or ``lower`` values.
        range: range of the values; ``performance`` for the range of R, ``change`` for the range of a difference of two
            values of R. Unknown by default.
        scope: ``measure`` for a statistic of each measure (``accuracy.average``, ``return.average``); ``run`` for a
            number that is computed from the first measure and reported without a prefix.
        topic: heading under which it is reported.
        within: whether evaluations within experiences change it, so that ``evaluation.every`` must be the same in
            a comparison.

    Raises:
        ValueError: ``name``, ``better``, ``range``, ``scope`` or ``topic`` is not valid.
    """

    name: str
    function: Callable[[Results], float | None]
    better: Better = field(default="higher", kw_only=True)
    range: Span | Literal["performance", "change"] = field(default=UNKNOWN, kw_only=True)
    scope: Literal["measure", "run"] = field(default="run", kw_only=True)
    topic: Topic = field(default="performance", kw_only=True)
    within: bool = field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not re.fullmatch(NAME, self.name):
            raise ValueError(f"name: expected words joined by dots, such as forgetting.custom, got {self.name!r}")
        for key, allowed in (("better", ("higher", "lower")), ("scope", ("measure", "run")),
                             ("topic", ("performance", "forgetting", "transfer"))):  # fmt: skip
            value = {"better": self.better, "scope": self.scope, "topic": self.topic}[key]
            if value not in allowed:
                raise ValueError(f"{key}: expected {' or '.join(allowed)}, got {value!r}")
        if self.range not in ("performance", "change"):
            check_span(self.range)  # type: ignore[arg-type]

    def __call__(self, results: Results) -> float | None:
        try:
            return self.function(results)
        except Undefined:
            return None

    def undefined(self, results: Results) -> str | None:
        """Return the reason why the metric is not defined for a run; None if it is."""
        try:
            value: Any = self.function(results)
        except Undefined as reason:
            return str(reason)
        if value is None:
            return "its function returned None"
        return f"its value is {value}" if isinstance(value, float) and not math.isfinite(value) else None

    def span(self, measure: Measure) -> Span:
        """Return the range of the metric for a measure; an unknown bound is infinite."""
        low, high = measure.range if measure.better == "higher" else (0.0 - measure.range[1], 0.0 - measure.range[0])
        if self.range == "performance":
            return low, high
        if self.range == "change":
            return low - high, high - low
        return self.range


def average(results: Results) -> float:
    """Compute mean_j R[T-1, j]; not defined if an entry is missing. Source: Lopez-Paz & Ranzato 2017, ACC."""
    matrix = results.R
    if not len(matrix) or np.isnan(matrix[-1]).any():
        raise Undefined("the last row of R is not complete; set evaluation.on: all")
    return _mean(matrix[-1])


AVERAGE = Metric("average", average, range="performance", scope="measure")


def incremental(results: Results) -> float:
    """Compute the mean over t of mean_{j<=t} R[t, j]; not defined if a boundary was not evaluated.

    With repeated visits, t counts visits, and the inner mean is over the tasks visited up to t.

    Source: Rebuffi et al. 2017, average incremental accuracy. The paper weights experiences by their samples; here all
    experiences have the same weight. The paper has no repeated visits.
    """
    visited = _visited(results)
    _check_boundaries(visited)
    rows = [row[sorted(set(visited.visits[: t + 1]))] for t, row in enumerate(visited.matrix)]
    return _mean([_mean(row) for row in rows if not np.isnan(row).all()])


INCREMENTAL = Metric("incremental", incremental, range="performance", scope="measure")


def learning(results: Results) -> float:
    """Compute mean_j R[j, j]; not defined if a boundary was not evaluated. Source: Riemer et al. 2019, LA."""
    visited = _visited(results)
    _check_boundaries(visited)
    return _mean(visited.learned)


LEARNING = Metric("learning", learning, range="performance", scope="measure")


def backward_transfer(results: Results) -> float:
    """Compute mean_{j<T-1} (R[T-1, j] - R[j, j]). Source: Lopez-Paz & Ranzato 2017, BWT."""
    visited = _visited(results, min_tasks=2)
    return _mean((visited.final - visited.learned)[visited.left])


BACKWARD_TRANSFER = Metric("backward_transfer", backward_transfer, range="change", topic="transfer")


def forward_transfer_gem(results: Results) -> float:
    """Compute mean_{j>0} (R[j-1, j] - before[j]), j-1 being the row before the first visit of task j.

    Source: Lopez-Paz & Ranzato 2017, FWT.
    """
    visited = _visited(results, min_tasks=2)
    if not len(results.before) or np.isnan(results.before).all():
        raise Undefined("there was no evaluation before training; set evaluation.before: true")
    before = _widened(results.before, visited.matrix.shape[1])
    return _mean([visited.matrix[row - 1, task] - before[task] for task, row in visited.first.items() if row > 0])


FORWARD_TRANSFER_GEM = Metric("forward_transfer.gem", forward_transfer_gem, range="change", topic="transfer")


def forgetting_chaudhry(results: Results) -> float:
    """Compute mean_{j<T-1} (max_{0<=l<T-1} R[l, j] - R[T-1, j]). Source: Chaudhry et al. 2018, eq. 3."""
    visited = _visited(results, min_tasks=2)
    earlier, final = visited.matrix[:-1][:, visited.tasks][:, visited.left], visited.final[visited.left]
    measured = ~np.isnan(earlier).all(0)
    return _mean(np.nanmax(earlier[:, measured], 0) - final[measured])


FORGETTING_CHAUDHRY = Metric(
    "forgetting.chaudhry", forgetting_chaudhry, better="lower", range="change", topic="forgetting"
)


def forgetting_cw(results: Results) -> float:
    """Compute mean_j (R[j, j] - R[T-1, j]), including the last experience, whose term is always 0; for R in [0, 1].

    Source: Wolczyk et al. 2021, Continual World, section 4.1.
    """
    visited = _visited(results, min_tasks=2)
    if (visited.matrix < 0).any() or (visited.matrix > 1).any():
        raise Undefined("a value of R is outside of [0, 1]")
    losses = visited.learned - visited.final
    if np.isnan(losses[visited.left]).all():  # only the last term, 0, is known
        raise Undefined(NOT_EVALUATED)
    return _mean(losses)


FORGETTING_CW = Metric("forgetting.cw", forgetting_cw, better="lower", range=(-1.0, 1.0), topic="forgetting")


def forgetting_cora(results: Results) -> float:
    """Compute the mean over i < j of (r_i before j - r_i after j) / max |r_i|. Source: Powers et al. 2022, eq. 1."""
    change = _changes(results)
    return _mean(change[np.triu_indices(len(change), 1)])


FORGETTING_CORA = Metric("forgetting.cora", forgetting_cora, better="lower", range=(-2.0, 2.0), topic="forgetting")


def forward_transfer_cora(results: Results) -> float:
    """Compute the mean over i > j of (r_i after j - r_i before j) / max |r_i|. Source: Powers et al. 2022, eq. 2."""
    change = _changes(results)
    return _mean(-change[np.tril_indices(len(change), -1)])


FORWARD_TRANSFER_CORA = Metric("forward_transfer.cora", forward_transfer_cora, range=(-2.0, 2.0), topic="transfer")


def minimum(results: Results) -> float:
    """Compute the mean over j < T-1 of the minimum performance on j at any evaluation after its training.

    Evaluations within experiences are included (``evaluation.every: {updates: N}``). They include temporary drops of
    the performance after a boundary (the stability gap), which evaluations at the boundaries miss.

    Source: De Lange et al. 2023, min-ACC, eq. 2.
    """
    visited = _visited(results, min_tasks=2)
    last = len(visited.matrix) - 1
    performances = [results.since(row, task) for task, row in visited.last.items() if row < last]
    return _mean([np.fmin.reduce(values) for values in performances if len(values)])


MIN = Metric("min", minimum, range="performance", scope="measure", within=True)


def worst_case(results: Results) -> float:
    """Compute R[T-1, T-1] / T + (1 - 1 / T) min-ACC, T tasks. Source: De Lange et al. 2023, WC-ACC, eq. 3."""
    visited, min_accuracy = _visited(results, min_tasks=2), minimum(results)
    count = len(visited.tasks)
    return float(visited.matrix[-1, visited.visits[-1]] / count + (1 - 1 / count) * min_accuracy)


WORST_CASE = Metric("worst_case", worst_case, range="performance", scope="measure", within=True)


def online(results: Results) -> float:
    """Compute the mean online score: the score of each training example before the update that uses it.

    It is computed from the records of ``evaluation.online``, with each experience weighted by its samples, and is not
    defined without these records.

    Source: Gama et al. 2013, On evaluating stream learning algorithms, section 3 (prequential).
    """
    values = {r.trained_on: r.value for r in results.records if r.metric == results.online}
    samples = {r.trained_on: r.value for r in results.records if r.metric == "samples"}
    weights = {t: samples.get(t, 1.0) for t in values}
    total = sum(weights.values())
    if not total:
        raise Undefined("there are no online scores; set evaluation.online: true")
    return results.sign * sum(weights[t] * values[t] for t in values) / total


ONLINE = Metric("online", online, range="performance", scope="measure")


def _changes(results: Results) -> Array:
    """Return the loss of performance on task i during training on j at [i, j], relative to the maximum |r_i|.

    Only the first cycle counts, as in the authors' code (AGI-Labs/continual_rl): the visits up to the first repeated
    one. Not defined if a task is first visited later.
    """
    visited = _visited(results, min_tasks=2)
    if len(set(visited.visits[: len(visited.tasks)])) < len(visited.tasks):
        raise Undefined("a task is visited again before all tasks have been visited once")
    cycle = list(visited.visits[: len(visited.tasks)])
    width = visited.matrix.shape[1]
    rows = np.vstack([_widened(results.before, width)[:width], visited.matrix])[:, cycle]
    maximum = np.nan_to_num(np.abs(rows)).max(0)
    rows = rows[: len(cycle) + 1]
    change = (rows[:-1] - rows[1:]).T
    scaled: Array = change / np.where(maximum > 0, maximum, np.nan)[:, None]
    return scaled


@frozen(eq=False)
class _Visited:
    """R with the order of the visits of its tasks.

    Args:
        matrix: R, (T, J).
        visits: column that each of the T rows trained.
    """

    matrix: Array
    visits: tuple[int, ...]

    @property
    def first(self) -> dict[int, int]:
        """Row of the first visit of each task."""
        return {task: self.visits.index(task) for task in self.tasks}

    @property
    def last(self) -> dict[int, int]:
        """Row of the last visit of each task."""
        return {task: row for row, task in enumerate(self.visits)}

    @property
    def tasks(self) -> list[int]:
        """The visited columns in ascending order."""
        return sorted(set(self.visits))

    @property
    def left(self) -> Array:
        """Whether each task has been left before the end: its last visit is not the last row."""
        return np.array([task != self.visits[-1] for task in self.tasks])

    @property
    def learned(self) -> Array:
        """Performance on each task at the end of its last visit: the diagonal of R if no task is visited twice."""
        return np.array([self.matrix[self.last[task], task] for task in self.tasks])

    @property
    def final(self) -> Array:
        """Performance on each task at the end of the stream."""
        return self.matrix[-1, self.tasks]


def _visited(results: Results, min_tasks: int = 1) -> _Visited:
    """Return R with its visits.

    Raises:
        Undefined: the visits are not known, or visit fewer than ``min_tasks`` tasks.
    """
    visits = results.visits
    if not visits:
        raise Undefined("an experience does not train a single column of R, or the run is not finished")
    if len(set(visits)) < min_tasks:
        raise Undefined(f"it needs {min_tasks} tasks, and the stream has {len(set(visits))}")
    return _Visited(_widened(results.R, max(visits) + 1), visits)


def _widened(values: Array, columns: int) -> Array:
    """Return values (..., J) with further columns of NaN, for tasks that were not evaluated."""
    missing = max(columns - values.shape[-1], 0)
    widened: Array = np.concatenate([values, np.full((*values.shape[:-1], missing), np.nan)], -1)
    return widened


def _check_boundaries(visited: _Visited) -> None:
    if np.isnan(visited.matrix).all(1).any():
        raise Undefined("a boundary was not evaluated; set evaluation.every: experience")


def _mean(values: Any) -> float:
    """Return the mean of the values that are not NaN.

    Raises:
        Undefined: there are none.
    """
    known = np.array([v for v in np.ravel(np.asarray(values, dtype=np.float64)) if not np.isnan(v)])
    if not len(known):
        raise Undefined(NOT_EVALUATED)
    return float(known.mean())
