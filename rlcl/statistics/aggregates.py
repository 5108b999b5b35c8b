"""Aggregates over runs and tasks with bootstrap intervals, as pure functions of arrays.

Scores are arrays (..., N, M): N runs (seeds) of each of M tasks, where higher is better. An aggregate reduces the last
two axes and keeps the leading ones (evaluations over time, bootstrap replications), so that one call computes all of
them.

Source: Agarwal et al. 2021, Deep reinforcement learning at the edge of the statistical precipice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from attrs import field, frozen

__all__ = [
    "AGGREGATES",
    "BootstrapInterval",
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

CHUNK_SIZE = 200_000  # numbers that are resampled at once; a chunk fits into the processor's cache


@frozen(eq=False)
class BootstrapInterval:
    """A statistic with its interval; the fields are arrays of the same shape if the statistic is an array.

    Args:
        value: statistic of all scores.
        low: lower end of the interval; NaN with a single run.
        high: upper end of the interval; NaN with a single run.
        replicates: statistic of each replication. The axis of the replications is the last one, or precedes the axis
            that the statistic adds. Empty with a single run.
    """

    value: Any
    low: Any
    high: Any
    replicates: Array = field(factory=lambda: np.empty(0), repr=False)


def mean(scores: Array) -> Any:
    """Return the mean of all scores, (..., N, M) to (...); each task has the same weight."""
    return np.mean(scores, (-2, -1))


def median(scores: Array) -> Any:
    """Return the median over tasks of the mean over runs, (..., N, M) to (...). Source: Agarwal 2021, section 3."""
    return np.median(np.mean(scores, -2), -1)


def interquartile_mean(scores: Array) -> Any:
    """Return the mean of the middle half of all N * M scores, (..., N, M) to (...).

    As in scipy's ``trim_mean`` and in rliable, floor(N M / 4) scores are cut at each end. Scores are never cut in part,
    so the result is the mean of all scores if there are fewer than four.

    Source: Agarwal 2021, section 4.3.
    """
    pooled = np.reshape(scores, (*np.shape(scores)[:-2], -1))
    size = pooled.shape[-1]
    cut = size // 4
    if cut == 0:
        return pooled.mean(-1)
    return np.partition(pooled, (cut, size - cut - 1), -1)[..., cut : size - cut].mean(-1)


def optimality_gap(scores: Array, target: float = 1.0) -> Any:
    """Return the mean distance of the runs below a target, (..., N, M) to (...); lower is better.

    The gap is target - mean of min(score, target): scores above the target do not compensate for lower ones.

    Args:
        scores: (..., N, M) on a common scale, on which 1 is usually the score of a perfect policy or of a human.
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
    """Return the fraction of runs that score above each threshold, mean over tasks, (..., N, M) to (..., T).

    Args:
        scores: (..., N, M).
        thresholds: (T,), tau in the source.

    Source: Agarwal 2021, equation 1, the run-score distribution.
    """
    return np.stack([mean(scores > threshold) for threshold in thresholds], -1)


def probability_of_improvement(scores: Array, others: Array) -> float:
    """Return the probability that a run scores above a run of another learner on the same task, mean over tasks.

    A tie counts one half. The result depends only on the order within each task, not on the units of the scores.

    Args:
        scores: (N, M) scores of the first learner.
        others: (K, M) scores of the other learner.

    Source: Agarwal 2021, section 4.3; Mann & Whitney 1947, U / (N K).
    """
    return float(_pairwise_wins(scores, others).mean())


def bootstrap(
    scores: Array,
    statistic: Aggregate,
    rng: np.random.Generator,
    *,
    replications: int = 50_000,
    confidence: float = 0.95,
) -> BootstrapInterval:
    """Return the percentile interval of a statistic by the stratified bootstrap.

    Each replication samples N runs with replacement within every task, independently of the other tasks. With a leading
    axis (evaluations over time), whole runs are sampled, the same ones at all evaluations.

    Args:
        scores: (..., N, M).
        statistic: function that reduces the last two axes; it may add one axis at the end.
        rng: the only source of randomness.
        replications: number of replications, at least 1.
        confidence: confidence level, in (0, 1).

    Source: Agarwal 2021, section 4.1; Efron 1979.
    """
    scores = _checked_scores(scores)
    value = statistic(scores)
    if scores.shape[-2] < 2:
        return _undefined_interval(value)
    chunks = [
        statistic(_resampled(scores, _sample_runs(scores, rng, n))) for n in _chunk_sizes(replications, scores.size)
    ]
    return _percentile_interval(value, np.concatenate(chunks, scores.ndim - 2), scores.ndim - 2, confidence)


def difference(first: BootstrapInterval, second: BootstrapInterval, confidence: float = 0.95) -> BootstrapInterval:
    """Return the difference of two aggregates with its percentile interval.

    The difference is paired (run n of the first with run n of the second) if both bootstraps had the same number of
    runs and used generators in the same state: each replication then contains the same runs of both. Generators with
    different seeds make the difference unpaired.

    Args:
        first, second: results of :func:`bootstrap` for a scalar statistic, with the same number of replications.
        confidence: confidence level, in (0, 1).
    """
    value = first.value - second.value
    if not len(first.replicates) or not len(second.replicates):
        return _undefined_interval(value)
    return _percentile_interval(value, first.replicates - second.replicates, 0, confidence)


def improvement_interval(
    scores: Array,
    others: Array,
    rng: np.random.Generator,
    *,
    replications: int = 50_000,
    confidence: float = 0.95,
) -> BootstrapInterval:
    """Return :func:`probability_of_improvement` with its percentile interval.

    The runs of both learners are resampled within every task.

    Args:
        scores: (N, M) scores of the first learner.
        others: (K, M) scores of the other learner.
        rng: the only source of randomness.
        replications: number of replications, at least 1.
        confidence: confidence level, in (0, 1).
    """
    scores, others = _checked_scores(scores), _checked_scores(others)
    wins = _pairwise_wins(scores, others)
    value = float(wins.mean())
    tasks, runs, rivals = wins.shape
    if min(runs, rivals) < 2:
        return _undefined_interval(value)
    replicates = np.zeros(replications)
    for table in wins:  # only the number of times that each run is sampled matters, so a task is one matrix product
        mine, theirs = _sample_counts(runs, rng, replications), _sample_counts(rivals, rng, replications)
        replicates += np.einsum("rk,rk->r", mine @ table, theirs) / (runs * rivals * tasks)
    return _percentile_interval(value, replicates, 0, confidence)


def profile_bands(
    scores: Array,
    thresholds: Array,
    rng: np.random.Generator,
    *,
    replications: int = 2_000,
    confidence: float = 0.95,
) -> BootstrapInterval:
    """Return :func:`performance_profile` (T,) with pointwise confidence bands.

    Args:
        scores: (N, M).
        thresholds: (T,).
        rng: the only source of randomness.
        replications: number of replications, at least 1.
        confidence: confidence level of each point separately, in (0, 1).

    Source: Agarwal 2021, section 4.2.
    """
    return bootstrap(
        scores,
        lambda sample: performance_profile(sample, thresholds),
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
) -> BootstrapInterval:
    """Return an aggregate at each evaluation (T,) with its pointwise interval.

    Args:
        scores: (T, N, M) scores at T evaluations of N runs of M tasks.
        rng: the only source of randomness.
        statistic: aggregate over runs and tasks.
        replications: number of replications, at least 1.
        confidence: confidence level of each point separately, in (0, 1).

    Source: Agarwal 2021, section 4.3 (figure 6).
    """
    return bootstrap(scores, statistic, rng, replications=replications, confidence=confidence)


def _checked_scores(scores: Array) -> Array:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim < 2 or 0 in scores.shape or np.isnan(scores).any():
        raise ValueError(
            f"expected scores of shape (..., runs, tasks) with at least one run and one task and without NaN, "
            f"got shape {scores.shape}"
        )
    return scores


def _pairwise_wins(scores: Array, others: Array) -> Array:
    """Return (M, N, K): 1 if run n of a task scores above run k of the other learner, 1/2 if both are equal, else 0."""
    mine, theirs = np.asarray(scores).T[:, :, None], np.asarray(others).T[:, None, :]
    wins: Array = (mine > theirs) + (mine == theirs) / 2
    return wins


def _chunk_sizes(replications: int, size: int) -> list[int]:
    """Return the number of replications of each chunk, for scores of ``size`` numbers."""
    limit = max(1, CHUNK_SIZE // size)
    return [min(limit, replications - done) for done in range(0, replications, limit)]


def _sample_runs(scores: Array, rng: np.random.Generator, count: int) -> Array:
    """Return (count, N, M) indices of sampled runs, independent for each task."""
    runs, tasks = scores.shape[-2:]
    return rng.integers(0, runs, (count, runs, tasks))


def _sample_counts(runs: int, rng: np.random.Generator, replications: int) -> Array:
    """Return (replications, N): how often each run is sampled."""
    sample = rng.integers(0, runs, (replications, runs)) + runs * np.arange(replications)[:, None]
    return np.bincount(sample.ravel(), minlength=runs * replications).reshape(replications, runs).astype(np.float64)


def _resampled(scores: Array, indices: Array) -> Array:
    """Return the scores of sampled runs, (..., count, N, M)."""
    return scores[..., indices, np.arange(scores.shape[-1])]


def _percentile_interval(value: Any, replicates: Array, axis: int, confidence: float) -> BootstrapInterval:
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2], axis)
    return BootstrapInterval(value, low, high, replicates)


def _undefined_interval(value: Any) -> BootstrapInterval:
    absent = np.full(np.shape(value), np.nan)[()]
    return BootstrapInterval(value, absent, absent)
