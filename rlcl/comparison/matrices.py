"""R over seeds: means, deviations, and what is left of what was learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from rlcl.comparison.groups import Group
from rlcl.evaluation.results import Array, Results

__all__ = ["Kept", "Row", "kept", "mean_rows", "r_rows"]


@frozen(eq=False)
class Row:
    """What was measured after training on one experience, over seeds.

    Args:
        name: what was trained on last.
        trained_on: its index; -1 before any training.
        mean: (J,) of the measure as it is recorded; NaN where absent.
        deviation: (J,) standard deviation over seeds; NaN with fewer than two.
        seeds: how many.
    """

    name: str
    trained_on: int
    mean: Array
    deviation: Array
    seeds: int

    @property
    def label(self) -> str:
        return self.name if self.trained_on < 0 else f"after {self.name}"


def r_rows(group: Group, measure: str) -> list[Row]:
    """Every row of R of a group that holds anything, and what was measured before any training."""
    return mean_rows(group.results(measure), len(group.names), group.trained)


def mean_rows(found: Sequence[Results], size: int, trained: Sequence[str]) -> list[Row]:
    """Every row of R that holds anything, and what was measured before any training.

    Args:
        found: of each seed.
        size: J, experiences evaluated.
        trained: names of the experiences trained on; numbers stand for those that have none.
    """
    made = [_row("before training", -1, [r.sign * r.before for r in found], size)]
    for t in range(max((len(r.R) for r in found), default=0)):
        name = trained[t] if t < len(trained) else f"experience {t + 1}"
        made.append(_row(name, t, [r.sign * r.R[t] if t < len(r.R) else np.array([]) for r in found], size))
    return [row for row in made if not np.isnan(row.mean).all()]


def _row(name: str, trained_on: int, rows: Sequence[Array], size: int) -> Row:
    values = np.stack([np.pad(row, (0, size - len(row)), constant_values=np.nan) for row in rows])
    count = (~np.isnan(values)).sum(0)
    nothing = np.full(size, np.nan)
    mean = np.divide(np.nansum(values, 0), count, out=nothing.copy(), where=count > 0)
    squares = np.nansum((values - mean) ** 2, 0)
    deviation = np.sqrt(np.divide(squares, count - 1, out=nothing.copy(), where=count > 1))
    return Row(name, trained_on, mean, deviation, len(values))


@frozen(eq=False)
class Kept:
    """What was learned, and what is left of it; means over seeds of the measure as it is recorded.

    Args:
        learned: (J,) on each experience after its own training.
        last: (J,) on each at the end.
    """

    learned: Array
    last: Array


def kept(group: Group) -> Kept | None:
    """Of the decisive measure; None for a single experience, or where not each was trained on by itself."""
    found, size = group.results(), len(group.names)
    if size < 2 or any(r.R.shape != (size, size) for r in found):
        return None
    learned = np.mean([r.sign * np.diag(r.R) for r in found], 0)
    last = np.mean([r.sign * r.R[-1] for r in found], 0)
    return Kept(learned, last) if np.isfinite([learned, last]).any() else None
