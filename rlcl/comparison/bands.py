"""Aggregation of learning curves over seeds.

The curves of all seeds are put on a common grid of steps. Means and confidence intervals are computed at each step, and
long curves are downsampled to a maximum number of points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen

from rlcl.statistics.intervals import student_half_width

__all__ = ["Band", "band", "band_over_seeds", "section_means"]

Array = np.ndarray[Any, Any]


@frozen(eq=False)
class Band:
    """Mean over seeds at each step, with its confidence interval.

    Args:
        steps: (P,) steps in increasing order.
        mean: (P,) mean over seeds; NaN if no seed has a value.
        low: (P,) lower end of the 95 % Student interval; NaN with fewer than two seeds.
        high: (P,) upper end of the interval; NaN with fewer than two seeds.
        seeds: number of seeds.
        section_size: maximum number of values per seed that are averaged into one point.
    """

    steps: Array
    mean: Array
    low: Array
    high: Array
    seeds: int
    section_size: int = 1


def band(steps: Array, values: Array, section_size: int = 1) -> Band:
    """Return the means and the Student intervals of columns.

    Args:
        steps: (P,) steps.
        values: (S, P) values, one row per seed; NaN if absent.
        section_size: see :class:`Band`.
    """
    count = (~np.isnan(values)).sum(0)
    total = np.nansum(values, 0)
    mean = np.divide(total, count, out=np.full(len(steps), np.nan), where=count > 0)
    squares = np.nansum((values - mean) ** 2, 0)
    half = np.full(len(steps), np.nan)
    several = count > 1
    freedom = (count - 1)[several]
    half[several] = student_half_width(np.sqrt(squares[several] / freedom / count[several]), freedom)
    return Band(np.asarray(steps), mean, mean - half, mean + half, len(values), section_size)


def band_over_seeds(curves: Sequence[tuple[Array, Array]], points: int) -> Band | None:
    """Return the band of curves on one grid of steps; the curves may have different steps.

    Long curves are reduced to means of equal sections of the steps. A seed without values in a section is absent there.

    Args:
        curves: steps and values of each seed; values that are not finite are left out.
        points: maximum number of points, at least 2.

    Returns:
        The band, or None if there are no values.
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
    rows = np.stack([section_means(steps, values, edges) for steps, values in known])
    section_size = int(np.ceil(max(len(steps) for steps, _ in known) / points))
    present = ~np.isnan(rows).all(0)
    return band(((edges[:-1] + edges[1:]) / 2)[present], rows[:, present], section_size)


def section_means(steps: Array, values: Array, edges: Array) -> Array:
    """Return (B,) means of the values within each of B sections of the steps; NaN for sections without values.

    Args:
        steps: (P,) steps.
        values: (P,) values.
        edges: (B + 1,) edges in increasing order; the last edge belongs to the last section.
    """
    section = np.clip(np.searchsorted(edges, steps, "right") - 1, 0, len(edges) - 2)
    count = np.bincount(section, minlength=len(edges) - 1)
    total = np.bincount(section, weights=values, minlength=len(edges) - 1)
    means: Array = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return means
