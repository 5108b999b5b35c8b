"""How well runs did while they learned, out of their records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlcl.comparison.cells import Cell

__all__ = ["curve"]

Array = np.ndarray[Any, Any]


def curve(cells: Sequence[Cell]) -> tuple[Array, Array]:
    """One learner's progress on one stream.

    Args:
        cells: its runs, one a seed.

    Returns:
        Steps (T,), and (T, N) the mean over the experiences evaluated of the measure, higher being better; at the
        evaluations that all runs have, counted from the first. Steps are a mean over runs, which may be off by a
        rollout.
    """
    each = [_progress(cell) for cell in cells]
    length = min((len(one) for one in each), default=0)
    if not length:
        return np.empty(0), np.empty((0, len(cells)))
    table = np.array([one[:length] for one in each])  # (N, T, 2)
    return table[:, :, 0].mean(0), table[:, :, 1].T


def _progress(cell: Cell) -> list[tuple[float, float]]:
    """(step, mean over experiences) of each evaluation, in their order."""
    from rlcl.evaluation.results import Results
    from rlcl.tracking.folder import read_records

    results = Results(read_records(cell.run.path), cell.measure)
    found: dict[tuple[int, int], list[float]] = {}
    for record in results.rows:
        found.setdefault((record.step, record.trained_on), []).append(results.sign * record.value)
    return [(float(step), float(np.mean(values))) for (step, _), values in sorted(found.items())]
