"""How well runs did while they learned, out of their records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlcl.comparison.bands import Band, over_seeds
from rlcl.comparison.cells import Cell
from rlcl.errors import RunFolderError
from rlcl.evaluation.results import Results
from rlcl.tracking.folder import read_records
from rlcl.types import Record

__all__ = ["average_band", "curve", "record_band"]

Array = np.ndarray[Any, Any]


def curve(cells: Sequence[Cell]) -> tuple[Array, Array]:
    """One learner's progress on one stream.

    Args:
        cells: its runs, one a seed; those whose records are damaged are passed over.

    Returns:
        Steps (T,), and (T, N) the mean over the experiences evaluated of the measure, higher being better; at the
        evaluations that all runs have, counted from the first. Steps are a mean over runs, which may be off by a
        rollout.
    """
    each = [found for cell in cells if (found := _progress(cell)) is not None]
    length = min((len(one) for one in each), default=0)
    if not length:
        return np.empty(0), np.empty((0, len(each)))
    table = np.array([one[:length] for one in each])  # (N, T, 2)
    return table[:, :, 0].mean(0), table[:, :, 1].T


def _progress(cell: Cell) -> list[tuple[float, float]] | None:
    """(step, mean over experiences) of each evaluation, in their order; None where they cannot be read."""
    try:
        results = Results(read_records(cell.run.path), cell.meaning.measure)
    except RunFolderError:
        return None
    found: dict[tuple[int, int], list[float]] = {}
    for record in results.rows:
        found.setdefault((record.step, record.trained_on), []).append(results.sign * record.value)
    return [(float(step), float(np.mean(values))) for (step, _), values in sorted(found.items())]


def average_band(results: Sequence[Results], experiences: int, points: int) -> Band | None:
    """A measure as it is recorded, mean over all experiences, by step; None where not all are evaluated together.

    Args:
        results: one a seed.
        experiences: how many are evaluated.
        points: at most.
    """
    curves = []
    for each in results:
        by_step: dict[int, dict[int, float]] = {}
        for r in each.rows:
            by_step.setdefault(r.step, {})[r.evaluated_on] = r.value
        whole = {step: told for step, told in sorted(by_step.items()) if len(told) == experiences}
        curves.append((np.array(list(whole)), np.array([float(np.mean(list(t.values()))) for t in whole.values()])))
    return over_seeds(curves, points)


def record_band(seeds: Sequence[Sequence[Record]], metric: str, experience: int | None, points: int) -> Band | None:
    """Records of one name by step; None where there are none.

    Args:
        seeds: the records of each.
        metric: their name.
        experience: that was evaluated; any of them by default.
        points: at most.
    """
    curves = []
    for records in seeds:
        rows = [r for r in records if r.metric == metric and experience in (None, r.evaluated_on)]
        last = {r.step: r.value for r in rows}
        curves.append((np.array(list(last), dtype=np.float64), np.array(list(last.values()))))
    return over_seeds([(steps[np.argsort(steps)], values[np.argsort(steps)]) for steps, values in curves], points)
