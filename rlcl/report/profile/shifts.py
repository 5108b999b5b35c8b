"""How far experiences are from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from scipy.spatial.distance import cdist, pdist

from rlcl.evaluation.results import Array

__all__ = ["Shift", "energy_matrix", "shift", "standardized"]


@frozen
class Shift:
    """How the means of features differ between two samples, in standard deviations of the whole.

    Args:
        mean: over features.
        greatest: of a feature.
        feature: that it is of.
    """

    mean: float
    greatest: float
    feature: int


def standardized(samples: Sequence[Array]) -> list[Array]:
    """Samples (N_i, F), each feature minus its mean and divided by its standard deviation over all of them together.

    Features that never change stay 0, as do values that are missing (NaN).
    """
    whole = np.concatenate(samples).astype(np.float64)
    known = np.isfinite(whole)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, whole, 0).sum(0) / count
    deviation = np.sqrt((np.where(known, whole - mean, 0) ** 2).sum(0) / count)
    scale = np.where(deviation > 1e-12, deviation, np.inf)
    return [np.where(np.isfinite(x), (x - mean) / scale, 0.0) for x in samples]


def energy_matrix(samples: Sequence[Array]) -> Array:
    """(T, T) energy coefficients of standardised samples: 0 of equal distributions, 1 of what has nothing in common.

    (2 E|X - Y| - E|X - X'| - E|Y - Y'|) / 2 E|X - Y|, where X' is another draw than X; without bias, so that samples of
    one distribution are about 0, and cut to [0, 1].

    Args:
        samples: (N_t, F) each, at least two rows.

    Source: Székely & Rizzo 2013, Energy statistics, section 3 (coefficient H).
    """
    found = np.zeros((len(samples), len(samples)))
    within = [float(pdist(x).mean()) for x in samples]
    for i, x in enumerate(samples):
        for j in range(i):
            between = 2 * float(cdist(x, samples[j]).mean())
            if between > 0:
                excess = (between - within[i] - within[j]) / between
                found[i, j] = found[j, i] = min(max(excess, 0.0), 1.0)
    return found


def shift(x: Array, y: Array) -> Shift:
    """Differences of the means of standardised samples (N, F) and (M, F)."""
    apart = np.abs(x.mean(0) - y.mean(0))
    feature = int(apart.argmax())
    return Shift(float(apart.mean()), float(apart[feature]), feature)
