"""Aggregates over runs and tasks, and their bootstrap intervals: pure functions on arrays.

Scores are arrays (..., N, M): N runs (seeds) of each of M tasks, higher being better. An aggregate takes away
these two last axes, so what stands before them (points of time, replications of a bootstrap) is kept, and one
call serves them all.

Source: Agarwal et al. 2021, Deep reinforcement learning at the edge of the statistical precipice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from attrs import field, frozen

__all__ = [
    "AGGREGATES",
    "Interval",
    "bootstrap",
    "difference",
    "improvement_interval",
    "interquartile_mean",
    "mean",
    "median",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "profile_bands",
    "sample_efficiency",
]

Array = np.ndarray[Any, Any]
Aggregate = Callable[[Array], Any]

PIECE = 200_000  # numbers resampled at a time: a piece stays in the processor's cache


@frozen(eq=False)
class Interval:
    """A value with its interval; arrays of one shape where there are several.

    Args:
        value: of all scores.
        low: lower end, NaN with a single run.
        high: upper end.
        draws: the value in each replication, on the last axis or, for a statistic that adds one, before it; none
            with a single run.
    """

    value: Any
    low: Any
    high: Any
    draws: Array = field(factory=lambda: np.empty(0), repr=False)


def mean(scores: Array) -> Any:
    """The mean of all scores, (..., N, M) to (...); each task weighs the same."""
    return np.mean(scores, (-2, -1))


def median(scores: Array) -> Any:
    """The median over tasks of the mean over runs, (..., N, M) to (...). Source: Agarwal 2021, section 3."""
    return np.median(np.mean(scores, -2), -1)


def interquartile_mean(scores: Array) -> Any:
    """The mean of the middle half of all N * M scores, (..., N, M) to (...).

    As scipy's ``trim_mean`` and as rliable: floor(N M / 4) whole scores are cut at each end, no fractions of one,
    so that with fewer than four scores it is their mean.

    Source: Agarwal 2021, section 4.3.
    """
    pooled = np.reshape(scores, (*np.shape(scores)[:-2], -1))
    size = pooled.shape[-1]
    cut = size // 4
    if cut == 0:
        return pooled.mean(-1)
    return np.partition(pooled, (cut, size - cut - 1), -1)[..., cut : size - cut].mean(-1)


def optimality_gap(scores: Array, target: float = 1.0) -> Any:
    """How far runs stay below a target on average, (..., N, M) to (...); lower is better.

    target - mean of min(score, target): what a run has beyond the target makes up for nothing.

    Args:
        scores: (..., N, M) on one scale, on which 1 usually stands for a perfect or a human's score.
        target: gamma in the source.

    Source: Agarwal 2021, section 4.3.
    """
    return target - mean(np.minimum(scores, target))


AGGREGATES: Mapping[str, Aggregate] = {
    "mean": mean,
    "median": median,
    "iqm": interquartile_mean,
    "optimality_gap": optimality_gap,
}


def performance_profile(scores: Array, thresholds: Array) -> Array:
    """The share of runs that score above each threshold, mean over tasks, (..., N, M) to (..., T).

    Args:
        scores: (..., N, M).
        thresholds: (T,) tau in the source.

    Source: Agarwal 2021, equation 1, the run-score distribution.
    """
    return np.stack([mean(scores > threshold) for threshold in thresholds], -1)


def probability_of_improvement(scores: Array, others: Array) -> float:
    """How likely a run scores above another learner's on the same task, mean over tasks; a tie counts half.

    No matter in which unit a task is scored: only the order within each task counts.

    Args:
        scores: (N, M) of one learner.
        others: (K, M) of another.

    Source: Agarwal 2021, section 4.3; Mann & Whitney 1947, U / (N K).
    """
    return float(_beaten(scores, others).mean())


def bootstrap(
    scores: Array,
    statistic: Aggregate,
    rng: np.random.Generator,
    *,
    replications: int = 50_000,
    confidence: float = 0.95,
) -> Interval:
    """The percentile interval of a statistic by the stratified bootstrap.

    Each replication draws N runs with replacement within every task, independently of the other tasks; with a
    leading axis (points of time) whole runs are drawn, the same at all points.

    Args:
        scores: (..., N, M).
        statistic: takes away the two last axes; it may add one at the end.
        rng: the only source of randomness.
        replications: at least 1.
        confidence: in (0, 1).

    Source: Agarwal 2021, section 4.1; Efron 1979.
    """
    scores = _checked(scores)
    value = statistic(scores)
    if scores.shape[-2] < 2:
        return _unknown(value)
    pieces = [statistic(_drawn(scores, _choose(scores, rng, n))) for n in _pieces(replications, scores.size)]
    return _percentiles(value, np.concatenate(pieces, scores.ndim - 2), scores.ndim - 2, confidence)


def difference(first: Interval, second: Interval, confidence: float = 0.95) -> Interval:
    """The difference of two aggregates, with its percentile interval.

    It is paired, run n of one with run n of the other, where both bootstraps had as many runs and generators in the
    same state: each replication then has drawn the same runs of both. Generators of other seeds make it unpaired.

    Args:
        first, second: each a number as :func:`bootstrap` gives it, of as many replications.
        confidence: in (0, 1).
    """
    value = first.value - second.value
    if not len(first.draws) or not len(second.draws):
        return _unknown(value)
    return _percentiles(value, first.draws - second.draws, 0, confidence)


def improvement_interval(
    scores: Array,
    others: Array,
    rng: np.random.Generator,
    *,
    replications: int = 50_000,
    confidence: float = 0.95,
) -> Interval:
    """:func:`probability_of_improvement` with its percentile interval; runs of both are drawn within every task.

    Args:
        scores: (N, M) of one learner.
        others: (K, M) of another.
        rng: the only source of randomness.
        replications: at least 1.
        confidence: in (0, 1).
    """
    scores, others = _checked(scores), _checked(others)
    beaten = _beaten(scores, others)
    value = float(beaten.mean())
    tasks, runs, rivals = beaten.shape
    if min(runs, rivals) < 2:
        return _unknown(value)
    drawn = np.zeros(replications)
    for table in beaten:  # how often each run was drawn is all that matters, so a task is one matrix product
        mine, theirs = _times_drawn(runs, rng, replications), _times_drawn(rivals, rng, replications)
        drawn += np.einsum("rk,rk->r", mine @ table, theirs) / (runs * rivals * tasks)
    return _percentiles(value, drawn, 0, confidence)


def profile_bands(
    scores: Array,
    thresholds: Array,
    rng: np.random.Generator,
    *,
    replications: int = 2_000,
    confidence: float = 0.95,
) -> Interval:
    """:func:`performance_profile` (T,) with pointwise bands.

    Args:
        scores: (N, M).
        thresholds: (T,).
        rng: the only source of randomness.
        replications: at least 1.
        confidence: in (0, 1), of each point by itself.

    Source: Agarwal 2021, section 4.2.
    """
    return bootstrap(
        scores,
        lambda drawn: performance_profile(drawn, thresholds),
        rng,
        replications=replications,
        confidence=confidence,
    )


def sample_efficiency(
    scores: Array,
    rng: np.random.Generator,
    *,
    statistic: Aggregate = interquartile_mean,
    replications: int = 2_000,
    confidence: float = 0.95,
) -> Interval:
    """An aggregate at each point of time (T,), with its pointwise interval.

    Args:
        scores: (T, N, M): at each of T points, of N runs of M tasks.
        rng: the only source of randomness.
        statistic: the interquartile mean by default.
        replications: at least 1.
        confidence: in (0, 1), of each point by itself.

    Source: Agarwal 2021, section 4.3 (figure 6).
    """
    return bootstrap(scores, statistic, rng, replications=replications, confidence=confidence)


def _checked(scores: Array) -> Array:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim < 2 or 0 in scores.shape or np.isnan(scores).any():
        raise ValueError(f"expected scores (runs, tasks), at least one of each and none absent, got {scores.shape}")
    return scores


def _beaten(scores: Array, others: Array) -> Array:
    """(M, N, K): 1 where run n of a task is above the other's run k, 1/2 where they are equal."""
    mine, theirs = np.asarray(scores).T[:, :, None], np.asarray(others).T[:, None, :]
    beaten: Array = (mine > theirs) + (mine == theirs) / 2
    return beaten


def _pieces(replications: int, size: int) -> list[int]:
    """How many replications to make at a time, each of so many numbers."""
    most = max(1, PIECE // size)
    return [min(most, replications - done) for done in range(0, replications, most)]


def _choose(scores: Array, rng: np.random.Generator, count: int) -> Array:
    """(count, N, M): which run stands at each place."""
    runs, tasks = scores.shape[-2:]
    return rng.integers(0, runs, (count, runs, tasks))


def _times_drawn(runs: int, rng: np.random.Generator, replications: int) -> Array:
    """(replications, N): how often each run is drawn."""
    chosen = rng.integers(0, runs, (replications, runs)) + runs * np.arange(replications)[:, None]
    return np.bincount(chosen.ravel(), minlength=runs * replications).reshape(replications, runs).astype(np.float64)


def _drawn(scores: Array, chosen: Array) -> Array:
    """(..., count, N, M)."""
    return scores[..., chosen, np.arange(scores.shape[-1])]


def _percentiles(value: Any, drawn: Array, axis: int, confidence: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis)
    return Interval(value, low, high, drawn)


def _unknown(value: Any) -> Interval:
    absent = np.full(np.shape(value), np.nan)[()]
    return Interval(value, absent, absent)
