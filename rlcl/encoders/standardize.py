"""Zero mean and unit variance, feature by feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.encoders.centred import centred, is_far
from rlcl.types import Encoder

__all__ = ["Standardize", "merge_moments"]

SHARE = 2e-5  # of a variance, which changes what is scaled by a hundred-thousandth


@define(kw_only=True)
class Standardize(Encoder):
    """Subtracts the mean and divides by the standard deviation of each feature, whatever its scale.

    A feature counts as constant, and is only centred, where its variance is within the error of computing it. This is
    the arithmetic of scikit-learn's ``StandardScaler``.

    Args:
        fit_on: ``first`` experience alone, so that what was learned keeps its meaning, or
            ``running``, over everything seen so far.
        clip: encoded values are cut to [-clip, clip]; None for no cut.
        epsilon: added to the variance; up to 2e-5 it is at most that share of the variance, so that small features
            are scaled like the others.
    """

    fit_on: Literal["first", "running"] = option("first")
    clip: float | None = option(10.0, gt=0)
    epsilon: float = option(1e-8, gt=0)
    _count: float = field(init=False, default=0.0)
    _mean: Tensor = field(init=False, factory=lambda: torch.zeros(()))
    _variance: Tensor = field(init=False, factory=lambda: torch.ones(()))
    _scale: Tensor = field(init=False, factory=lambda: torch.ones(()))
    _far: Tensor | None = field(init=False, default=None)

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
        if self.epsilon <= SHARE:
            added = torch.minimum(added, SHARE * self._variance)
        # A constant feature carries nothing: left at zero instead of blown up.
        constant = self._variance <= _rounding(self._count, self._mean, self._variance)
        scale = (self._variance + added).rsqrt()
        self._scale = torch.where(constant | scale.isnan(), torch.ones_like(scale), scale)
        self._look()

    def _look(self) -> None:
        far = is_far(self._mean, 1 / self._scale)
        self._far = far if bool(far.any()) else None

    def encode(self, x: Tensor) -> Tensor:
        y = centred(x, self._mean, self._far) * self._scale.to(device=x.device, dtype=torch.float32)
        return y if self.clip is None else y.clamp_(-self.clip, self.clip)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self._count, "mean": self._mean, "variance": self._variance, "scale": self._scale}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._count, self._mean = state["count"], state["mean"]
        self._variance, self._scale = state["variance"], state["scale"]
        self._look()


def _rounding(count: float, mean: Tensor, variance: Tensor) -> Tensor:
    """(*shape) the variance that rounding alone may give ``count`` values in float64.

    Source: scikit-learn, ``sklearn.preprocessing._data._is_constant_feature``, after Chan et al. 1983.
    """
    unit = torch.finfo(torch.float64).eps
    return count * unit * variance + (count * mean * unit) ** 2


Moments = tuple[float, Tensor, Tensor]


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Count, mean and variance of two samples together.

    Args:
        a, b: (count, mean (*shape), variance (*shape)), the variance divided by the count.

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
