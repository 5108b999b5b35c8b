"""Two-sample tests for drift that are valid for ties and for correlated consecutive requests.

Pure functions over arrays. :mod:`rlcl.deploy.monitoring.comparisons` chooses the samples that are compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "autocovariances",
    "correlation_times",
    "correlation_times_from",
    "ks_distances",
    "ks_levels",
    "share_levels",
    "window_level",
]

Array = np.ndarray[Any, Any]


def window_level(window: int, alpha: float) -> float:
    """Return the level at which a window is tested: alpha / (w (w + 1)).

    The levels of all windows sum to ``alpha``. The probability of a false alarm over the whole life of a deployment is
    therefore at most ``alpha``, for any number of windows and any dependence between them.

    Args:
        window: number of the window, from 1.
        alpha: probability of a false alarm in all windows together, in (0, 1).

    Source: alpha spending of Lan & DeMets 1983, with Bonferroni's inequality; the series telescopes.
    """
    return alpha / (window * (window + 1))


def ks_distances(reference: Array, window: Array) -> Array:
    """Compute the maximum distance between the distribution functions of two samples, feature by feature.

    Args:
        reference: (F, N), each row sorted.
        window: (F, B), each row sorted.

    Returns:
        (F,) in [0, 1]: the Kolmogorov-Smirnov statistic.
    """
    window_size, reference_size = window.shape[1], reference.shape[1]
    changes = window[:, 1:] != window[:, :-1]
    edge = np.ones((len(window), 1), bool)
    first, last = np.concatenate([edge, changes], 1), np.concatenate([changes, edge], 1)
    ranks = np.arange(window_size + 1) / window_size
    # Between two values of the window, its distribution function is constant and the reference's increases. The maximum
    # distance is therefore just before a value or at it. Among equal values, the first is compared with the lower end
    # of the step and the last with its upper end.
    sides = [np.stack([r.searchsorted(w, side) for r, w in zip(reference, window, strict=True)])
             for side in ("left", "right")]  # fmt: skip
    below = np.where(first, np.abs(sides[0] / reference_size - ranks[:-1]), 0)
    above = np.where(last, np.abs(sides[1] / reference_size - ranks[1:]), 0)
    return np.asarray(np.maximum(below.max(1), above.max(1)))


def ks_levels(distances: Array, reference_sizes: Array, window_sizes: Array) -> Array:
    """Compute the probability of at least such distances between two samples of one distribution.

    Args:
        distances: (F,) distances of :func:`ks_distances`.
        reference_sizes: (F,) effective sizes of the reference, see :func:`correlation_times`.
        window_sizes: (F,) effective sizes of the window.

    Returns:
        (F,) by Kolmogorov's limit, which is an upper bound for small samples. Ties, hence discrete and constant
        features, make it larger than necessary.

    Source: Smirnov 1948; Weiss 1978 for dependent observations through their effective number.
    """
    from scipy.special import kolmogorov

    return np.asarray(
        kolmogorov(np.sqrt(reference_sizes * window_sizes / (reference_sizes + window_sizes)) * distances)
    )


def share_levels(reference_counts: Array, reference_sizes: Array, window_counts: Array, window_sizes: Array) -> Array:
    """Compute the two-sided probability that the counts of a class in two samples differ at least this much by chance.

    Args:
        reference_counts: (K,) counts in the reference.
        reference_sizes: (K,) sizes of the reference.
        window_counts: (K,) counts in the window.
        window_sizes: (K,) sizes of the window.

    Returns:
        (K,) twice the smaller tail, at most 1. It is exact for any counts and any level. The chi-square distribution
        is not exact for rare classes or for the small levels of a long deployment.

    Source: Fisher 1935, the hypergeometric distribution of a count given both margins.
    """
    from scipy.stats import hypergeom

    margins = (reference_sizes + window_sizes, reference_counts + window_counts, window_sizes)
    tails = np.minimum(hypergeom.cdf(window_counts, *margins), hypergeom.sf(window_counts - 1, *margins))
    return np.asarray(np.minimum(1.0, 2 * tails))


def correlation_times(values: Array) -> Array:
    """Compute how many successive requests carry as much information as one independent request.

    Args:
        values: (B, F) in the order of requests.

    Returns:
        (F,) in [1, B]: 1 + 2 times the sum of autocorrelations, up to the first pair of lags whose sum is not
        positive; 1 for constants.

    Source: Geyer 1992, the initial positive sequence (section 3.3).
    """
    times = correlation_times_from(autocovariances(values), len(values))
    return np.where(values.max(0) > values.min(0), times, 1.0)


def autocovariances(values: Array) -> Array:
    """Compute (L, F) autocovariances at the lags 0, 1, 2, ... of (B, F) values, multiplied by B; L is even."""
    size = len(values)
    values = values.astype(np.result_type(values, np.float32), copy=False)
    power = np.abs(np.fft.rfft(values - values.mean(0), 2 * size, axis=0)) ** 2
    return np.asarray(np.fft.irfft(power, axis=0)[: size - size % 2])


def correlation_times_from(autocovariances: Array, size: int) -> Array:
    """Compute (F,) correlation times in [1, size] from (L, F) autocovariances, see :func:`correlation_times`."""
    variance = np.where(autocovariances[0] > 0, autocovariances[0], 1)
    pairs = (autocovariances[::2] + autocovariances[1::2]) / variance
    positive = np.logical_and.accumulate(pairs > 0, axis=0)
    return np.asarray(np.clip(2 * np.where(positive, pairs, 0).sum(0) - 1, 1, size))
