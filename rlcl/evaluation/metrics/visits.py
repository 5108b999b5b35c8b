"""The matrix R with the order of the visits of its tasks, as the formulas of metrics need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from rlcl.evaluation.metrics.metric import NOT_EVALUATED, Undefined

if TYPE_CHECKING:
    from rlcl.evaluation.results import Results

__all__ = [
    "Visits",
    "check_boundaries",
    "check_shares",
    "final_mean",
    "last_value",
    "mean",
    "shares_of",
    "single_task_curve",
    "visits_of",
    "widened",
]

Array = np.ndarray[Any, Any]


@frozen(eq=False)
class Visits:
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


def visits_of(results: Results, min_tasks: int = 1) -> Visits:
    """Return R with its visits.

    Raises:
        Undefined: the visits are not known, or visit fewer than ``min_tasks`` tasks.
    """
    visits = results.visits
    if results.moments is not None:
        raise Undefined("the rows of a drifting stream are its evaluations, and its experiences have no tasks")
    if not visits:
        raise Undefined("an experience does not train a single column of R, or the run is not finished")
    if len(set(visits)) < min_tasks:
        raise Undefined(f"it needs {min_tasks} tasks, and the stream has {len(set(visits))}")
    return Visits(widened(results.R, max(visits) + 1), visits)


def widened(values: Array, columns: int) -> Array:
    """Return values (..., J) with further columns of NaN, for tasks that were not evaluated."""
    missing = max(columns - values.shape[-1], 0)
    widened: Array = np.concatenate([values, np.full((*values.shape[:-1], missing), np.nan)], -1)
    return widened


def check_boundaries(visited: Visits) -> None:
    """Check that R has values at the end of each visit.

    Raises:
        Undefined: a row has none.
    """
    if np.isnan(visited.matrix).all(1).any():
        raise Undefined("a boundary was not evaluated; set evaluation.every: experience")


def mean(values: Any) -> float:
    """Return the mean of the values that are not NaN.

    Raises:
        Undefined: there are none.
    """
    known = np.array([v for v in np.ravel(np.asarray(values, dtype=np.float64)) if not np.isnan(v)])
    if not len(known):
        raise Undefined(NOT_EVALUATED)
    return float(known.mean())


def last_value(values: Array) -> float:
    """Return the last one of values (N,); NaN if there are none."""
    return float(values[-1]) if len(values) else np.nan


def final_mean(values: Array, count: int) -> float:
    """Return the mean of the last ``count`` values, or of all if there are fewer; NaN if there are none."""
    return float(np.mean(values[-count:])) if len(values) else np.nan


def shares_of(results: Results, values: Array) -> Array:
    """Return values as shares in [0, 1]: those of a normalized measure (``score``) are clipped.

    Raises:
        Undefined: a value of another measure is outside of [0, 1].
    """
    if results.normalized:
        return np.clip(values, 0.0, 1.0)
    if (values < 0).any() or (values > 1).any():
        raise Undefined("a value of R is outside of [0, 1]; returns are scaled by evaluation.measures: [score, return]")
    return values


def check_shares(results: Results) -> None:
    """Check that the results of a run are shares, or can be clipped to shares.

    Raises:
        Undefined: a value is outside of [0, 1].
    """
    shares_of(results, np.array([results.sign * r.value for r in results.rows if r.value == r.value]))


def single_task_curve(results: Results, task: int) -> Array:
    """Return the performance (N,) in the evaluations of the single-task run on a task.

    Raises:
        Undefined: there is no such run.
    """
    curve = results.baseline("single_task", task)
    if not len(curve):
        raise Undefined("there are no single-task runs; set evaluation.baselines: single_task")
    return curve
