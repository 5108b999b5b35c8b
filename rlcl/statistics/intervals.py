"""Intervals over seeds. A seed is the unit of analysis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

__all__ = ["Summary", "summarize"]


@frozen
class Summary:
    """A mean over seeds with its interval.

    Args:
        mean: over seeds.
        low: lower end of the interval, NaN with a single seed.
        high: upper end.
        seeds: how many.
    """

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def half_width(self) -> float:
        """Half the interval's width; NaN with a single seed."""
        return (self.high - self.low) / 2


def summarize(values: Sequence[float], confidence: float = 0.95) -> Summary:
    """Mean and Student interval of one number a seed.

    Args:
        values: one a seed, at least one.
        confidence: in (0, 1).

    Source: Student 1908, The probable error of a mean.
    """
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if len(array) < 2:
        return Summary(mean, float("nan"), float("nan"), len(array))
    from scipy.stats import t

    half = float(t.ppf(0.5 + confidence / 2, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array)))
    return Summary(mean, mean - half, mean + half, len(array))
