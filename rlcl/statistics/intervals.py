"""Confidence intervals over seeds; a seed is the unit of analysis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen

__all__ = ["SeedSummary", "normal_quantile", "standard_error", "student_half_width", "summarize"]


def student_half_width(error: Any, freedom: Any, confidence: float = 0.95) -> Any:
    """Return half the width of a Student interval: the quantile of t times the standard error.

    Args:
        error: standard error of the estimate; a number or an array.
        freedom: degrees of freedom, above 0; the same shape as ``error``.
        confidence: confidence level, in (0, 1).

    Source: Student 1908, The probable error of a mean.
    """
    from scipy.special import stdtrit  # scipy.stats calls the same function but takes half a second to import

    return stdtrit(freedom, 0.5 + confidence / 2) * error


def standard_error(values: Any) -> Any:
    """Return the standard error of the mean over the first axis, (N, ...) to (...); 0 for a single value."""
    array = np.asarray(values, dtype=np.float64)
    return array.std(0, ddof=1) / np.sqrt(len(array)) if len(array) > 1 else np.zeros(array.shape[1:])[()]


def normal_quantile(confidence: float = 0.95) -> float:
    """Return half the width of a two-sided normal interval in standard errors: 1.96 at 0.95."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + confidence / 2))


@frozen
class SeedSummary:
    """The mean of a value over seeds, with its confidence interval.

    Args:
        mean: mean over seeds.
        low: lower end of the interval; NaN with a single seed.
        high: upper end of the interval; NaN with a single seed.
        seeds: number of seeds.
    """

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def half_width(self) -> float:
        """Half the width of the interval; NaN with a single seed."""
        return (self.high - self.low) / 2


def summarize(values: Sequence[float], confidence: float = 0.95) -> SeedSummary:
    """Return the mean of a value over seeds, with its Student confidence interval.

    Args:
        values: one value per seed, at least one.
        confidence: confidence level, in (0, 1).

    Source: Student 1908, The probable error of a mean.
    """
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if len(array) < 2:
        return SeedSummary(mean, float("nan"), float("nan"), len(array))
    half = float(student_half_width(standard_error(array), len(array) - 1, confidence))
    return SeedSummary(mean, mean - half, mean + half, len(array))
