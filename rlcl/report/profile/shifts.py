"""Distances between the data of experiences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from scipy.spatial.distance import cdist, pdist

from rlcl.evaluation.results import Array

__all__ = ["MeanShift", "energy_matrix", "mean_shift", "standardize"]


@frozen
class MeanShift:
    """Differences between the feature means of two samples, in standard deviations over all samples.

    Args:
        mean: mean absolute difference over features.
        maximum: maximum absolute difference over features.
        feature: index of the feature with the maximum difference.
    """

    mean: float
    maximum: float
    feature: int


def standardize(samples: Sequence[Array]) -> list[Array]:
    """Standardize samples (N_i, F): subtract the mean of each feature over all samples, divide by its deviation.

    Features without variance and missing values (NaN) become 0.
    """
    pooled = np.concatenate(samples).astype(np.float64)
    known = np.isfinite(pooled)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, pooled, 0).sum(0) / count
    deviation = np.sqrt((np.where(known, pooled - mean, 0) ** 2).sum(0) / count)
    scale = np.where(deviation > 1e-12, deviation, np.inf)
    return [np.where(np.isfinite(x), (x - mean) / scale, 0.0) for x in samples]


def energy_matrix(samples: Sequence[Array]) -> Array:
    """Return the (T, T) energy coefficients of standardized samples.

    A coefficient is 0 for equal distributions and 1 for constant distributions with different values. The coefficient
    is (2 E|X - Y| - E|X - X'| - E|Y - Y'|) / 2 E|X - Y|, where X' is an independent copy of X. The estimate is
    unbiased, so that it is about 0 for two samples of one distribution, and clipped to [0, 1].

    Args:
        samples: arrays (N_t, F) with at least two rows.

    Source: Székely & Rizzo 2013, Energy statistics, section 3 (coefficient H).
    """
    matrix = np.zeros((len(samples), len(samples)))
    within = [float(pdist(x).mean()) for x in samples]
    for i, x in enumerate(samples):
        for j in range(i):
            between = 2 * float(cdist(x, samples[j]).mean())
            if between > 0:
                excess = (between - within[i] - within[j]) / between
                matrix[i, j] = matrix[j, i] = min(max(excess, 0.0), 1.0)
    return matrix


def mean_shift(x: Array, y: Array) -> MeanShift:
    """Return the differences between the feature means of standardized samples (N, F) and (M, F)."""
    differences = np.abs(x.mean(0) - y.mean(0))
    feature = int(differences.argmax())
    return MeanShift(float(differences.mean()), float(differences[feature]), feature)
