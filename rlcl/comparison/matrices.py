"""Matrices R (evaluations after each experience) over seeds: means, standard deviations, and retention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from rlcl.comparison.groups import SeedGroup
from rlcl.evaluation.results import Array, Results

__all__ = ["MatrixRow", "Retention", "mean_rows", "r_rows", "retention"]


@frozen(eq=False)
class MatrixRow:
    """Evaluations after training on one experience, over seeds.

    Args:
        name: name of the experience trained on last.
        trained_on: index of the row in R, which is that of this experience unless the stream drifts; -1 before any
            training.
        mean: (J,) mean over seeds of the measure as recorded; NaN if absent.
        deviation: (J,) standard deviation over seeds; NaN with fewer than two.
        seeds: number of seeds.
    """

    name: str
    trained_on: int
    mean: Array
    deviation: Array
    seeds: int

    @property
    def label(self) -> str:
        """Name of the row: ``after`` and the experience, or ``before training``."""
        return self.name if self.trained_on < 0 else f"after {self.name}"


def r_rows(group: SeedGroup, measure: str) -> list[MatrixRow]:
    """Return the rows of R of a group that are not empty, preceded by the evaluations before any training."""
    return mean_rows(group.results(measure), len(group.evaluated_names), group.trained_names)


def mean_rows(results: Sequence[Results], size: int, trained: Sequence[str]) -> list[MatrixRow]:
    """Return the rows of R that are not empty, preceded by the evaluations before any training.

    Args:
        results: results of each seed.
        size: J, the number of experiences evaluated.
        trained: names of the experiences trained on; experiences without a name are numbered.
    """
    rows = [_row("before training", -1, [r.sign * r.before for r in results], size)]
    matrices = [r.sign * r.R for r in results]
    names = max((r.row_names(trained) for r in results), key=len, default=[])
    for t, name in enumerate(names):
        rows.append(_row(name, t, [matrix[t] if t < len(matrix) else np.array([]) for matrix in matrices], size))
    return [row for row in rows if not np.isnan(row.mean).all()]


def _row(name: str, trained_on: int, rows: Sequence[Array], size: int) -> MatrixRow:
    values = np.stack([np.pad(row, (0, size - len(row)), constant_values=np.nan) for row in rows])
    count = (~np.isnan(values)).sum(0)
    absent = np.full(size, np.nan)
    mean = np.divide(np.nansum(values, 0), count, out=absent.copy(), where=count > 0)
    squares = np.nansum((values - mean) ** 2, 0)
    deviation = np.sqrt(np.divide(squares, count - 1, out=absent.copy(), where=count > 1))
    return MatrixRow(name, trained_on, mean, deviation, len(values))


@frozen(eq=False)
class Retention:
    """The measure on each experience after its own training and at the end, as recorded, mean over seeds.

    Args:
        after_training: (J,) on each experience after its own training.
        at_end: (J,) on each experience at the end of the stream.
    """

    after_training: Array
    at_end: Array


def retention(group: SeedGroup) -> Retention | None:
    """Return the retention by the primary measure.

    The result is None with a single experience, or if experiences were not trained one by one.
    """
    results, size = group.results(), len(group.evaluated_names)
    visits = {r.visits if r.R.shape[1] == size else () for r in results}
    if size < 2 or len(visits) != 1 or any(set(order) != set(range(size)) for order in visits):
        return None
    (order,) = visits
    last = [len(order) - 1 - order[::-1].index(task) for task in range(size)]  # row of each task's last visit
    after_training = np.mean([r.sign * r.R[last, range(size)] for r in results], 0)
    at_end = np.mean([r.sign * r.R[-1] for r in results], 0)
    return Retention(after_training, at_end) if np.isfinite([after_training, at_end]).any() else None
