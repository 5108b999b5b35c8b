"""Whether two learners differ: tests over seeds, their correction, and how many seeds would tell."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from attrs import frozen

from rlcl.statistics.aggregates import Interval
from rlcl.statistics.intervals import student_half

__all__ = [
    "MOST_SEEDS",
    "RANKS",
    "Tested",
    "bootstrapped",
    "detectable",
    "holm",
    "power",
    "ranked",
    "seeds_needed",
    "stratified_ranks",
    "student",
]

MOST_SEEDS = 1000  # more are not planned for: the difference is too small to matter
POWER = 0.8
RANKS = ("Wilcoxon's signed ranks", "Mann-Whitney's U")
EFFICIENCY = 3 / np.pi  # of rank tests beside Student's, where values are normal (Hodges & Lehmann 1956)

Array = np.ndarray[Any, Any]


@frozen
class Tested:
    """A test of whether two learners have the same mean (or place).

    Args:
        name: for example ``paired t`` or ``Welch's t``.
        difference: of the means, the first minus the second.
        low, high: its Student interval.
        p: two-sided.
        deviation: the standard error of the difference times the root of the number of seeds: where paired the
            standard deviation of the differences, else the root of the sum of both variances.
        groups: degrees of freedom that a seed adds: 1 where paired, else 2, and more over several streams.
    """

    name: str
    difference: float
    low: float
    high: float
    p: float
    deviation: float
    groups: int


def student(values: Sequence[float], others: Sequence[float], *, paired: bool, confidence: float = 0.95) -> Tested:
    """Student's test of the differences, or Welch's of two sets of seeds, which need not vary alike.

    Args:
        values: one a seed, at least two.
        others: of another learner; with the same seeds in the same order where paired.
        paired: whether seeds go together.
        confidence: of the interval, in (0, 1).

    Source: Student 1908; Welch 1947; for reinforcement learning Colas et al. 2019, A hitchhiker's guide to
    statistical comparisons of reinforcement learning algorithms.
    """
    from scipy.stats import t

    a, b = np.asarray(values, dtype=np.float64), np.asarray(others, dtype=np.float64)
    difference = float(a.mean() - b.mean())
    if paired:
        spread = _variance(a - b)
        squared, freedom = spread / len(a), float(len(a) - 1)
    else:
        parts = np.array([_variance(a) / len(a), _variance(b) / len(b)])
        spread, squared = _variance(a) + _variance(b), float(parts.sum())
        weights = (parts**2 / [len(a) - 1, len(b) - 1]).sum()
        freedom = squared**2 / float(weights) if squared else 1.0
    error = float(np.sqrt(squared))
    half = float(student_half(error, freedom, confidence))
    # Differences that are all the same leave no doubt, whatever they are.
    p = float(2 * t.sf(abs(difference) / error, freedom)) if error else float(difference == 0)
    name = "paired t" if paired else "Welch's t"
    return Tested(name, difference, difference - half, difference + half, p, float(np.sqrt(spread)), 1 if paired else 2)


def ranked(values: Sequence[float], others: Sequence[float], *, paired: bool, confidence: float = 0.95) -> Tested:
    """Wilcoxon's test of signed ranks, or Mann and Whitney's of two sets of seeds; the interval stays Student's.

    Nothing is assumed of the distribution but, where paired, that differences are symmetric. With n seeds p is at
    least 2 / 2^n: five seeds never reach 0.05.

    Args:
        values: one a seed, at least two.
        others: of another learner; with the same seeds in the same order where paired.
        paired: whether seeds go together.
        confidence: of the interval, in (0, 1).

    Source: Wilcoxon 1945, differences of 0 left out; Mann & Whitney 1947.
    """
    from attrs import evolve
    from scipy.stats import mannwhitneyu, wilcoxon

    about = student(values, others, paired=paired, confidence=confidence)
    a, b = np.asarray(values, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if not paired:
        return evolve(about, name=RANKS[1], p=float(mannwhitneyu(a, b).pvalue))
    changed = (a - b)[a != b]
    p = float(wilcoxon(changed).pvalue) if len(changed) else 1.0
    return evolve(about, name=RANKS[0], p=p)


def bootstrapped(found: Interval, parts: Array, freedoms: Array, seeds: int, confidence: float = 0.95) -> Tested:
    """Student's test of a difference between aggregates over streams, with the error that its bootstrap gives.

    The share of replications beyond 0 would not do with few seeds: drawing from n runs makes their spread
    (n - 1) / n too small, and says nothing of how badly it is known. With 3 seeds on 3 streams it finds a difference
    where there is none in 13 % of cases instead of 5 %.

    Args:
        found: a difference with its replications.
        parts: variances of the mean difference that each stream (of both learners, where not paired) contributes.
        freedoms: degrees of freedom of each of them.
        seeds: of the learner with fewer, at least 2.
        confidence: of the interval, in (0, 1).

    Source: Efron & Tibshirani 1993, section 12.2 and equation 5.12; degrees of freedom by Satterthwaite 1946.
    """
    from scipy.stats import t

    value = float(found.value)
    error = float(found.draws.std() * np.sqrt(seeds / (seeds - 1)))
    squares = float((parts**2 / freedoms).sum())
    freedom = float(parts.sum()) ** 2 / squares if squares else float(freedoms.sum())
    half = float(student_half(error, freedom, confidence))
    p = float(2 * t.sf(abs(value) / error, freedom)) if error else float(value == 0)
    groups = max(1, round(freedom / (seeds - 1)))
    return Tested("stratified bootstrap", value, value - half, value + half, p, error * float(np.sqrt(seeds)), groups)


def stratified_ranks(improvement: float, seeds: tuple[int, int], streams: int, interval: tuple[float, float]) -> Tested:
    """Whether a probability of improvement over several streams is 1/2: Mann and Whitney's test of all of them.

    Args:
        improvement: mean over streams of U / (N K).
        seeds: N and K, at least 2 each.
        streams: how many.
        interval: of the improvement, passed on.

    Source: van Elteren 1960, all streams weighing the same; normal, with the variance (N + K + 1) / (12 N K) of each.
    """
    from scipy.stats import norm

    n, k = seeds
    error = float(np.sqrt((n + k + 1) / (12 * n * k * streams)))
    p = float(2 * norm.sf(abs(improvement - 0.5) / error))
    deviation = error * float(np.sqrt(min(seeds)))
    return Tested("stratified ranks", improvement, *interval, p, deviation, 2 * streams)


def holm(values: Sequence[float]) -> list[float]:
    """P values corrected so that the chance of any false finding among them stays below the level.

    Args:
        values: of all comparisons, in any order; the result has the same.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    p = np.asarray(values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(each) for each in corrected]


def power(effect: float, seeds: int, alpha: float, groups: int) -> float:
    """The chance that Student's test finds a difference.

    Args:
        effect: the difference over its deviation, see :class:`Tested`.
        seeds: of each learner, at least 2.
        alpha: level of the test, in (0, 1).
        groups: see :class:`Tested`.

    Source: Cohen 1988, Statistical power analysis, chapter 2: the noncentral t distribution.
    """
    from scipy.stats import nct, t

    freedom = groups * (seeds - 1)
    limit, shift = float(t.isf(alpha / 2, freedom)), abs(effect) * np.sqrt(seeds)
    if shift - limit > 10:  # where the noncentral distribution is no longer computed well
        return 1.0
    return float(nct.sf(limit, freedom, shift) + nct.cdf(-limit, freedom, shift))


def seeds_needed(effect: float, alpha: float, groups: int, *, ranks: bool = False) -> int | None:
    """Seeds of each learner with which a difference is found with a chance of 80 %; None beyond MOST_SEEDS.

    Args:
        effect: the difference over its deviation, see :class:`Tested`.
        alpha: level of the test, in (0, 1).
        groups: see :class:`Tested`.
        ranks: whether a rank test decides, which needs pi / 3 times as many, and enough that it can decide at all.
    """
    if not effect:
        return None
    most = range(2, MOST_SEEDS + 1)
    found = 2 + bisect_left(most, POWER, key=lambda seeds: power(effect, seeds, alpha, groups))
    if ranks:
        possible = next(n for n in most if _least_p(n, groups) <= alpha)
        found = max(possible, int(np.ceil(found / EFFICIENCY)))
    return found if found <= MOST_SEEDS else None


def detectable(deviation: float, seeds: int, alpha: float, groups: int) -> float:
    """The least difference that so many seeds find with a chance of 80 %; infinite where there is none.

    Args:
        deviation: see :class:`Tested`.
        seeds: of each learner, at least 2.
        alpha: level of the test, in (0, 1).
        groups: see :class:`Tested`.
    """
    return deviation * _least_effect(seeds, alpha, groups) if deviation else 0.0


@cache
def _least_effect(seeds: int, alpha: float, groups: int) -> float:
    """The difference over its deviation; the same for all pairs of a table, and so worth remembering."""
    low, high = 0.0, 1.0
    while power(high, seeds, alpha, groups) < POWER:
        high *= 2
        if high > 1e6:
            return float("inf")
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, seeds, alpha, groups) >= POWER else (middle, high)
    return high


def _variance(values: Array) -> float:
    return float(values.var(ddof=1))


def _least_p(seeds: int, groups: int) -> float:
    """What a rank test gives where all seeds agree."""
    from math import comb

    return 2 / (2**seeds if groups == 1 else comb(2 * seeds, seeds))
