"""Hypothesis tests over seeds, Holm's correction, and the number of seeds that a test needs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from attrs import frozen

from rlcl.statistics.aggregates import BootstrapInterval
from rlcl.statistics.intervals import student_half_width

__all__ = [
    "MAX_SEEDS",
    "RANK_TESTS",
    "HypothesisTest",
    "bootstrap_test",
    "detectable_difference",
    "holm_correction",
    "power",
    "rank_test",
    "seeds_needed",
    "stratified_rank_test",
    "t_test",
]

MAX_SEEDS = 1000  # no larger number of seeds is planned: a difference that needs more is too small to matter
TARGET_POWER = 0.8
RANK_TESTS = ("Wilcoxon's signed ranks", "Mann-Whitney's U")
RANK_EFFICIENCY = 3 / np.pi  # of rank tests relative to Student's for normal values (Hodges & Lehmann 1956)

Array = np.ndarray[Any, Any]


@frozen
class HypothesisTest:
    """Result of a test whether two learners have the same mean or location.

    Args:
        name: name of the test, for example ``paired t`` or ``Welch's t``.
        difference: difference of the means, the first minus the second.
        low, high: ends of the Student interval of the difference.
        p: two-sided p value.
        deviation: standard error of the difference times the square root of the number of seeds. If paired, the
            standard deviation of the differences; otherwise the square root of the sum of both variances.
        freedom_per_seed: degrees of freedom that each additional seed adds: 1 if paired, otherwise 2; more for tests
            over several streams.
    """

    name: str
    difference: float
    low: float
    high: float
    p: float
    deviation: float
    freedom_per_seed: int


def t_test(
    values: Sequence[float], others: Sequence[float], *, paired: bool, confidence: float = 0.95
) -> HypothesisTest:
    """Run Student's paired test, or Welch's test of two samples with unequal variances.

    Args:
        values: one value per seed, at least two.
        others: values of the other learner; if paired, of the same seeds in the same order.
        paired: whether to test the differences between equal seeds.
        confidence: confidence level of the interval, in (0, 1).

    Source: Student 1908; Welch 1947; for reinforcement learning Colas et al. 2019, A hitchhiker's guide to
    statistical comparisons of reinforcement learning algorithms.
    """
    from scipy.stats import t

    a, b = np.asarray(values, dtype=np.float64), np.asarray(others, dtype=np.float64)
    difference = float(a.mean() - b.mean())
    if paired:
        variance = _variance(a - b)
        squared_error, freedom = variance / len(a), float(len(a) - 1)
    else:
        parts = np.array([_variance(a) / len(a), _variance(b) / len(b)])
        variance, squared_error = _variance(a) + _variance(b), float(parts.sum())
        weights = (parts**2 / [len(a) - 1, len(b) - 1]).sum()
        freedom = squared_error**2 / float(weights) if squared_error else 1.0
    error = float(np.sqrt(squared_error))
    half = float(student_half_width(error, freedom, confidence))
    # Without any variance the result is certain: p is 0 for a difference other than 0, and 1 for 0.
    p = float(2 * t.sf(abs(difference) / error, freedom)) if error else float(difference == 0)
    name = "paired t" if paired else "Welch's t"
    deviation = float(np.sqrt(variance))
    return HypothesisTest(name, difference, difference - half, difference + half, p, deviation, 1 if paired else 2)


def rank_test(
    values: Sequence[float], others: Sequence[float], *, paired: bool, confidence: float = 0.95
) -> HypothesisTest:
    """Run Wilcoxon's signed-rank test, or the Mann-Whitney U test of two samples; the interval remains Student's.

    The tests assume nothing about the distribution, except that paired differences are symmetric. With n seeds of
    each learner, the p of the signed-rank test is at least 2 / 2^n, so five seeds never reach 0.05. The p of the U test
    is at least 2 / C(2n, n), so three seeds never reach it.

    Args:
        values: one value per seed, at least two.
        others: values of the other learner; if paired, of the same seeds in the same order.
        paired: whether to test the differences between equal seeds.
        confidence: confidence level of the interval, in (0, 1).

    Source: Wilcoxon 1945, where differences of 0 are left out; Mann & Whitney 1947.
    """
    from attrs import evolve
    from scipy.stats import mannwhitneyu, wilcoxon

    with_t = t_test(values, others, paired=paired, confidence=confidence)
    a, b = np.asarray(values, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if not paired:
        return evolve(with_t, name=RANK_TESTS[1], p=float(mannwhitneyu(a, b).pvalue))
    nonzero = (a - b)[a != b]
    p = float(wilcoxon(nonzero).pvalue) if len(nonzero) else 1.0
    return evolve(with_t, name=RANK_TESTS[0], p=p)


def bootstrap_test(
    estimate: BootstrapInterval, variances: Array, freedoms: Array, seeds: int, confidence: float = 0.95
) -> HypothesisTest:
    """Run Student's test of a difference between aggregates over streams, with the standard error of its bootstrap.

    The fraction of replications beyond 0 is no valid p value with few seeds. Resampling n runs makes their variance
    too small by the factor (n - 1) / n, and ignores the uncertainty of the variance itself. With 3 seeds on 3 streams,
    such a test rejects a true null hypothesis in 13 % of cases instead of 5 %.

    Args:
        estimate: difference with its replications.
        variances: variances of the mean difference on each stream; if not paired, of the mean of each learner on each
            stream.
        freedoms: degrees of freedom of each variance.
        seeds: number of seeds of the learner with fewer seeds, at least 2.
        confidence: confidence level of the interval, in (0, 1).

    Source: Efron & Tibshirani 1993, section 12.2 and equation 5.12; degrees of freedom by Satterthwaite 1946.
    """
    from scipy.stats import t

    value = float(estimate.value)
    error = float(estimate.replicates.std() * np.sqrt(seeds / (seeds - 1)))
    squares = float((variances**2 / freedoms).sum())
    freedom = float(variances.sum()) ** 2 / squares if squares else float(freedoms.sum())
    half = float(student_half_width(error, freedom, confidence))
    p = float(2 * t.sf(abs(value) / error, freedom)) if error else float(value == 0)
    per_seed = max(1, round(freedom / (seeds - 1)))
    deviation = error * float(np.sqrt(seeds))
    return HypothesisTest("stratified bootstrap", value, value - half, value + half, p, deviation, per_seed)


def stratified_rank_test(
    improvement: float, seeds: tuple[int, int], streams: int, interval: tuple[float, float]
) -> HypothesisTest:
    """Test whether a probability of improvement over several streams is 1/2, by the Mann-Whitney test of all streams.

    Args:
        improvement: mean over streams of U / (N K).
        seeds: N and K, at least 2 each.
        streams: number of streams.
        interval: ends of the interval of the improvement, which are copied into the result.

    Source: van Elteren 1960 with equal weights of the streams; normal approximation with the variance
    (N + K + 1) / (12 N K) of each stream.
    """
    from scipy.stats import norm

    n, k = seeds
    error = float(np.sqrt((n + k + 1) / (12 * n * k * streams)))
    p = float(2 * norm.sf(abs(improvement - 0.5) / error))
    deviation = error * float(np.sqrt(min(seeds)))
    return HypothesisTest("stratified ranks", improvement, *interval, p, deviation, 2 * streams)


def holm_correction(values: Sequence[float]) -> list[float]:
    """Correct p values so that the probability of any false positive among them stays below the level.

    Args:
        values: p values of all comparisons, in any order; the result has the same order.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    p = np.asarray(values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(value) for value in corrected]


def power(effect: float, seeds: int, alpha: float, freedom_per_seed: int) -> float:
    """Return the probability that Student's test detects a difference.

    Args:
        effect: difference divided by its deviation, see :class:`HypothesisTest`.
        seeds: number of seeds of each learner, at least 2.
        alpha: level of the test, in (0, 1).
        freedom_per_seed: see :class:`HypothesisTest`.

    Source: Cohen 1988, Statistical power analysis, chapter 2: the noncentral t distribution.
    """
    from scipy.stats import nct, t

    freedom = freedom_per_seed * (seeds - 1)
    limit, shift = float(t.isf(alpha / 2, freedom)), abs(effect) * np.sqrt(seeds)
    if shift - limit > 10:  # beyond this scipy's noncentral t distribution is inaccurate
        return 1.0
    return float(nct.sf(limit, freedom, shift) + nct.cdf(-limit, freedom, shift))


def seeds_needed(effect: float, alpha: float, freedom_per_seed: int, *, ranks: bool = False) -> int | None:
    """Return the number of seeds of each learner for a power of 80 %; None if it exceeds MAX_SEEDS.

    Args:
        effect: difference divided by its deviation, see :class:`HypothesisTest`.
        alpha: level of the test, in (0, 1).
        freedom_per_seed: see :class:`HypothesisTest`.
        ranks: whether the test is a rank test. It needs pi / 3 times as many seeds, and at least as many as its
            smallest possible p requires.
    """
    if not effect:
        return None
    counts = range(2, MAX_SEEDS + 1)
    needed = 2 + bisect_left(counts, TARGET_POWER, key=lambda seeds: power(effect, seeds, alpha, freedom_per_seed))
    if ranks:
        possible = next(n for n in counts if _smallest_rank_p(n, freedom_per_seed) <= alpha)
        needed = max(possible, int(np.ceil(needed / RANK_EFFICIENCY)))
    return needed if needed <= MAX_SEEDS else None


def detectable_difference(deviation: float, seeds: int, alpha: float, freedom_per_seed: int) -> float:
    """Return the smallest difference that is detected with a power of 80 %; infinity if there is none.

    Args:
        deviation: see :class:`HypothesisTest`.
        seeds: number of seeds of each learner, at least 2.
        alpha: level of the test, in (0, 1).
        freedom_per_seed: see :class:`HypothesisTest`.
    """
    return deviation * _detectable_effect(seeds, alpha, freedom_per_seed) if deviation else 0.0


@cache
def _detectable_effect(seeds: int, alpha: float, freedom_per_seed: int) -> float:
    """Return the smallest detectable effect; cached because all pairs of a table have the same one."""
    low, high = 0.0, 1.0
    while power(high, seeds, alpha, freedom_per_seed) < TARGET_POWER:
        high *= 2
        if high > 1e6:
            return float("inf")
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, seeds, alpha, freedom_per_seed) >= TARGET_POWER else (middle, high)
    return high


def _variance(values: Array) -> float:
    return float(values.var(ddof=1))


def _smallest_rank_p(seeds: int, freedom_per_seed: int) -> float:
    """Return the smallest possible p of a rank test, which it has if all seeds agree."""
    from math import comb

    return 2 / (2**seeds if freedom_per_seed == 1 else comb(2 * seeds, seeds))
