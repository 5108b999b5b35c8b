"""Intervals over seeds. A seed is the unit of analysis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen

__all__ = ["Summary", "normal_quantile", "standard_error", "student_half", "summarize"]


def student_half(error: Any, freedom: Any, confidence: float = 0.95) -> Any:
    """Half the width of a Student interval: the quantile of t times the standard error.

    Args:
        error: standard error of the estimate; a number, or an array.
        freedom: degrees of freedom, above 0; of the same shape.
        confidence: in (0, 1).

    Source: Student 1908, The probable error of a mean.
    """
    from scipy.special import stdtrit  # scipy.stats, which calls it, takes half a second to import

    return stdtrit(freedom, 0.5 + confidence / 2) * error


def standard_error(values: Any) -> Any:
    """Standard error of the mean over the first axis, (N, ...) to (...); 0 of a single value, which shows none."""
    array = np.asarray(values, dtype=np.float64)
    return array.std(0, ddof=1) / np.sqrt(len(array)) if len(array) > 1 else np.zeros(array.shape[1:])[()]


def normal_quantile(confidence: float = 0.95) -> float:
    """How many standard errors of a normal estimate make half of a two-sided interval: 1.96 at 0.95."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + confidence / 2))


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
    half = float(student_half(standard_error(array), len(array) - 1, confidence))
    return Summary(mean, mean - half, mean + half, len(array))
