"""Curves over seeds: a common grid of steps, means with intervals, and no more points than can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen

from rlcl.statistics.intervals import student_half

__all__ = ["Band", "band", "over_seeds", "thinned"]

Array = np.ndarray[Any, Any]


@frozen(eq=False)
class Band:
    """A mean over seeds at each step, with its interval.

    Args:
        steps: (P,) increasing.
        mean: (P,) NaN where no seed has a value.
        low: (P,) lower end of the 95 % Student interval; NaN with fewer than two seeds.
        high: (P,) upper end.
        seeds: how many there are.
        bucket: how many values of each seed a point is the mean of, at most.
    """

    steps: Array
    mean: Array
    low: Array
    high: Array
    seeds: int
    bucket: int = 1


def band(steps: Array, values: Array, bucket: int = 1) -> Band:
    """Means and Student intervals of columns.

    Args:
        steps: (P,).
        values: (S, P), one row a seed; NaN where absent.
        bucket: see :class:`Band`.
    """
    count = (~np.isnan(values)).sum(0)
    total = np.nansum(values, 0)
    mean = np.divide(total, count, out=np.full(len(steps), np.nan), where=count > 0)
    squares = np.nansum((values - mean) ** 2, 0)
    half = np.full(len(steps), np.nan)
    several = count > 1
    freedom = (count - 1)[several]
    half[several] = student_half(np.sqrt(squares[several] / freedom / count[several]), freedom)
    return Band(np.asarray(steps), mean, mean - half, mean + half, len(values), bucket)


def over_seeds(curves: Sequence[tuple[Array, Array]], points: int) -> Band | None:
    """Curves that need not have the same steps, on one grid of at most so many points.

    Each seed is thinned to means of equal stretches of steps; a stretch that a seed has no value in is absent of it.

    Args:
        curves: steps and values of each seed; values that are not finite are left out.
        points: at least 2.

    Returns:
        None where there is nothing.
    """
    known = [(steps[np.isfinite(values)], values[np.isfinite(values)]) for steps, values in curves]
    known = [(steps, values) for steps, values in known if len(steps)]
    if not known:
        return None
    every = np.unique(np.concatenate([steps for steps, _ in known]))
    if len(every) <= points:
        rows = np.full((len(known), len(every)), np.nan)
        for row, (steps, values) in zip(rows, known, strict=True):
            row[np.searchsorted(every, steps)] = values
        return band(every, rows)
    edges = np.linspace(every[0], every[-1], points + 1)
    rows = np.stack([thinned(steps, values, edges) for steps, values in known])
    bucket = int(np.ceil(max(len(steps) for steps, _ in known) / points))
    held = ~np.isnan(rows).all(0)
    return band(((edges[:-1] + edges[1:]) / 2)[held], rows[:, held], bucket)


def thinned(steps: Array, values: Array, edges: Array) -> Array:
    """(B,) mean of the values within each of B stretches of steps; NaN where there are none.

    Args:
        steps: (P,).
        values: (P,).
        edges: (B + 1,) increasing; the last one is within the last stretch.
    """
    place = np.clip(np.searchsorted(edges, steps, "right") - 1, 0, len(edges) - 2)
    count = np.bincount(place, minlength=len(edges) - 1)
    total = np.bincount(place, weights=values, minlength=len(edges) - 1)
    means: Array = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return means
