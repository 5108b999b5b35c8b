"""The mathematics of drift: two-sample tests that hold for ties and for requests that resemble their neighbours.

Pure functions over arrays; which sample is compared with which is :mod:`rlcl.deploy.monitoring.comparisons`'s to say.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["correlation_times", "covariances", "ks_distances", "ks_levels", "share_levels", "spent", "time_of"]

Array = np.ndarray[Any, Any]


def spent(window: int, alpha: float) -> float:
    """The level at which a window is tested: alpha / (w (w + 1)).

    These levels sum up to ``alpha`` over all windows that will ever be, so whatever the number of windows, and
    however they depend on each other, a false alarm has at most that probability over the whole life.

    Args:
        window: its number, from 1.
        alpha: probability of a false alarm in all windows together, in (0, 1).

    Source: spending of Lan & DeMets 1983, with Bonferroni's inequality; the series telescopes.
    """
    return alpha / (window * (window + 1))


def ks_distances(reference: Array, window: Array) -> Array:
    """Largest distance between the distribution functions of two samples, feature by feature.

    Args:
        reference: (F, N), each row sorted.
        window: (F, B), each row sorted.

    Returns:
        (F,) in [0, 1]: the statistic of Kolmogorov and Smirnov.
    """
    size, many = window.shape[1], reference.shape[1]
    changes = window[:, 1:] != window[:, :-1]
    edge = np.ones((len(window), 1), bool)
    first, last = np.concatenate([edge, changes], 1), np.concatenate([changes, edge], 1)
    ranks = np.arange(size + 1) / size
    # Between two values of the window its function is flat and the reference's grows: the largest distance is just
    # before a value or at it. Of equal values the first has the step's foot and the last its head.
    sides = [np.stack([r.searchsorted(w, side) for r, w in zip(reference, window, strict=True)])
             for side in ("left", "right")]  # fmt: skip
    below = np.where(first, np.abs(sides[0] / many - ranks[:-1]), 0)
    above = np.where(last, np.abs(sides[1] / many - ranks[1:]), 0)
    return np.asarray(np.maximum(below.max(1), above.max(1)))


def ks_levels(distances: Array, many: Array, sizes: Array) -> Array:
    """Probability of at least such distances between samples of one distribution, an upper bound for small samples.

    Args:
        distances: (F,).
        many: (F,) effective sizes of the reference, see :func:`correlation_times`.
        sizes: (F,) those of the window.

    Returns:
        (F,) by Kolmogorov's limit. Ties, so discrete and constant features, make it larger than need be.

    Source: Smirnov 1948; Weiss 1978 for dependent observations through their effective number.
    """
    from scipy.special import kolmogorov

    return np.asarray(kolmogorov(np.sqrt(many * sizes / (many + sizes)) * distances))


def share_levels(before: Array, many: Array, now: Array, sizes: Array) -> Array:
    """Probability that counts of a class in two samples differ at least so much by chance, two-sided.

    Args:
        before: (K,) counts in the reference.
        many: (K,) sizes of the reference.
        now: (K,) counts in the window.
        sizes: (K,) sizes of the window.

    Returns:
        (K,) twice the smaller tail, at most 1. It is exact for any counts and any level, which the chi-square
        distribution is not for the rare classes and the small levels that a long life needs.

    Source: Fisher 1935, the hypergeometric distribution of a count given both margins.
    """
    from scipy.stats import hypergeom

    given = (many + sizes, before + now, sizes)
    tails = np.minimum(hypergeom.cdf(now, *given), hypergeom.sf(now - 1, *given))
    return np.asarray(np.minimum(1.0, 2 * tails))


def correlation_times(values: Array) -> Array:
    """How many successive requests tell as much as one that is independent.

    Args:
        values: (B, F) in the order of requests.

    Returns:
        (F,) at least 1, at most B: 1 + 2 times the sum of autocorrelations, up to where pairs of them end to be
        positive; 1 of constants.

    Source: Geyer 1992, the initial positive sequence (section 3.3).
    """
    times = time_of(covariances(values), len(values))
    return np.where(values.max(0) > values.min(0), times, 1.0)


def covariances(values: Array) -> Array:
    """(L, F) autocovariances of the lags 0, 1, 2, ... of (B, F) values, times B; L is even."""
    size = len(values)
    values = values.astype(np.result_type(values, np.float32), copy=False)
    power = np.abs(np.fft.rfft(values - values.mean(0), 2 * size, axis=0)) ** 2
    return np.asarray(np.fft.irfft(power, axis=0)[: size - size % 2])


def time_of(covariances: Array, size: int) -> Array:
    """(F,) correlation times in [1, size] of autocovariances (L, F), see :func:`correlation_times`."""
    variance = np.where(covariances[0] > 0, covariances[0], 1)
    pairs = (covariances[::2] + covariances[1::2]) / variance
    positive = np.logical_and.accumulate(pairs > 0, axis=0)
    return np.asarray(np.clip(2 * np.where(positive, pairs, 0).sum(0) - 1, 1, size))
