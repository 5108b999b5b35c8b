"""Zero mean and unit variance, feature by feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.types import Encoder

__all__ = ["Standardize", "merge_moments"]


@define(kw_only=True)
class Standardize(Encoder):
    """Subtracts the mean and divides by the standard deviation of each feature.

    Args:
        fit_on: ``first`` experience alone, so that what was learned keeps its meaning, or
            ``running``, over everything seen so far.
        clip: encoded values are cut to [-clip, clip]; None for no cut.
        epsilon: added to the variance.
    """

    fit_on: Literal["first", "running"] = option("first")
    clip: float | None = option(10.0, gt=0)
    epsilon: float = option(1e-8, gt=0)
    _count: float = field(init=False, default=0.0)
    _mean: Tensor = field(init=False, factory=lambda: torch.zeros(()))
    _variance: Tensor = field(init=False, factory=lambda: torch.ones(()))
    _scale: Tensor = field(init=False, factory=lambda: torch.ones(()))

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
        # A constant feature carries nothing: left at zero instead of blown up by 1 / sqrt(epsilon).
        scale = (self._variance + self.epsilon).rsqrt()
        self._scale = torch.where(self._variance > self.epsilon, scale, torch.ones_like(scale))

    def encode(self, x: Tensor) -> Tensor:
        mean = self._mean.to(device=x.device, dtype=torch.float32)
        scale = self._scale.to(device=x.device, dtype=torch.float32)
        y = (x.to(torch.float32) - mean) * scale
        return y if self.clip is None else y.clamp_(-self.clip, self.clip)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self._count, "mean": self._mean, "variance": self._variance, "scale": self._scale}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._count, self._mean = state["count"], state["mean"]
        self._variance, self._scale = state["variance"], state["scale"]


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
