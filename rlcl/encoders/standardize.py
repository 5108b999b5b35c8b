"""Standardization of each feature to zero mean and unit variance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.encoders.subtract_centre import needs_float64, subtract_centre
from rlcl.types import Encoder, TaskIds

__all__ = ["Standardize", "merge_moments"]

MAX_EPSILON_SHARE = 2e-5  # of the variance, which changes scaled values by a relative 1e-5


@define(kw_only=True)
class Standardize(Encoder):
    """Standardization of each feature by its mean and standard deviation, for any scale of the feature.

    A feature is considered constant, and is only centred, if its variance is within the rounding error. This is
    the arithmetic of scikit-learn's ``StandardScaler``.

    Args:
        fit_on: inputs of the fit: the ``first`` experience only, so that the inputs of the network keep their
            meaning, or ``running``: all inputs so far.
        clip: limit of the encoded values, [-clip, clip]; null for no limit.
        epsilon: added to the variance. For values up to 2e-5, the addition is limited to 2e-5 of the variance, so that
            features of small scale are standardized like the others.
    """

    fit_on: Literal["first", "running"] = option("first")
    clip: float | None = option(10.0, gt=0)
    epsilon: float = option(1e-8, gt=0)
    _count: float = field(init=False, default=0.0)
    _mean: Tensor = field(init=False, factory=lambda: torch.zeros(()))
    _variance: Tensor = field(init=False, factory=lambda: torch.ones(()))
    _scale: Tensor = field(init=False, factory=lambda: torch.ones(()))
    _in_float64: Tensor | None = field(init=False, default=None)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return observation_shape

    def fit(self, x: Tensor) -> None:
        if self.fit_on == "first" and self._count:
            return
        values = x.to(torch.float64)
        variance, mean = torch.var_mean(values, 0, correction=0)
        self._count, self._mean, self._variance = merge_moments(
            (self._count, self._mean, self._variance), (float(len(x)), mean, variance)
        )
        added = torch.full_like(self._variance, self.epsilon)
        if self.epsilon <= MAX_EPSILON_SHARE:
            added = torch.minimum(added, MAX_EPSILON_SHARE * self._variance)
        # A constant feature is not scaled, so that its rounding errors are not amplified.
        constant = self._variance <= _rounding_variance(self._count, self._mean, self._variance)
        scale = (self._variance + added).rsqrt()
        self._scale = torch.where(constant | scale.isnan(), torch.ones_like(scale), scale)
        self._check_precision()

    def _check_precision(self) -> None:
        mask = needs_float64(self._mean, 1 / self._scale)
        self._in_float64 = mask if bool(mask.any()) else None

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        y = subtract_centre(x, self._mean, self._in_float64) * self._scale.to(device=x.device, dtype=torch.float32)
        return y if self.clip is None else y.clamp_(-self.clip, self.clip)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self._count, "mean": self._mean, "variance": self._variance, "scale": self._scale}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._count, self._mean = state["count"], state["mean"]
        self._variance, self._scale = state["variance"], state["scale"]
        self._check_precision()


def _rounding_variance(count: float, mean: Tensor, variance: Tensor) -> Tensor:
    """Compute the variance (*shape) that rounding may cause for ``count`` equal values in float64.

    Source: scikit-learn, ``sklearn.preprocessing._data._is_constant_feature``, after Chan et al. 1983.
    """
    eps = torch.finfo(torch.float64).eps
    return count * eps * variance + (count * mean * eps) ** 2


Moments = tuple[float, Tensor, Tensor]


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Compute the count, mean and variance of the union of two samples.

    Args:
        a, b: (count, mean (*shape), variance (*shape)), with the biased variance (divided by the count).

    Source: Chan, Golub & LeVeque 1983, Algorithms for computing the sample variance, eq. 1.5.
    """
    (n_a, mean_a, var_a), (n_b, mean_b, var_b) = a, b
    if n_a == 0:
        return b
    n = n_a + n_b
    delta = mean_b - mean_a
    mean = mean_a + delta * (n_b / n)
    variance = (n_a * var_a + n_b * var_b + delta**2 * (n_a * n_b / n)) / n
    return n, mean, variance
