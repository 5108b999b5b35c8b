"""Random Fourier features, whose inner products approximate a Gaussian kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.types import Encoder, TaskIds

__all__ = ["RandomFourier"]

MAX_ANGLE = 200.0  # radians; larger angles have errors of more than 1e-5 in float32
CHECKED_ROWS = 256  # inputs whose angles are checked


@define(kw_only=True)
class RandomFourier(Encoder):
    """Random features sqrt(2 / features) cos(W x + b), with inner products near exp(-|x - y|^2 / (2 width^2)).

    If the first inputs of the fit have angles above 200, all angles are computed in float64.

    Args:
        features: number of features.
        width: width of the kernel, in units of the inputs.
        seed: random seed of W, normal with variance 1 / width^2, and of b, uniform in [0, 2 pi).

    Source: Rahimi & Recht 2007, Random features for large-scale kernel machines, algorithm 1.
    """

    features: int = option(512, ge=1)
    width: float = option(1.0, gt=0)
    seed: int = option(0, ge=0)
    _weights: Tensor | None = field(init=False, default=None)
    _phases: Tensor | None = field(init=False, default=None)
    _exact: bool | None = field(init=False, default=None)  # whether angles need float64; None before the fit

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.features,)

    def fit(self, x: Tensor) -> None:
        if self._exact is None:
            weights, phases = self._sample_parameters(x[:1].flatten(1).shape[1])
            rows = x[:CHECKED_ROWS].flatten(1).to(torch.float32)
            self._exact = bool((rows @ weights.to(rows) + phases.to(rows)).abs().max() > MAX_ANGLE)

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        values = x.flatten(1).to(torch.float64 if self._exact else torch.float32)
        weights, phases = self._sample_parameters(values.shape[1])
        angles = values @ weights.to(values) + phases.to(values)
        if self._exact:  # reduce to [0, 2 pi) in float64, because large angles lose digits in float32
            angles = (angles - 2 * math.pi * torch.floor(angles / (2 * math.pi))).to(torch.float32)
        return math.sqrt(2 / self.features) * torch.cos(angles)

    def _sample_parameters(self, width: int) -> tuple[Tensor, Tensor]:
        if self._weights is None or self._phases is None:
            generator = torch.Generator().manual_seed(self.seed)
            self._weights = torch.randn(width, self.features, generator=generator) / self.width
            self._phases = 2 * math.pi * torch.rand(self.features, generator=generator)
        return self._weights, self._phases

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self._weights, "phases": self._phases, "exact": self._exact}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._weights, self._phases = state["weights"], state["phases"]
        self._exact = state.get("exact", False)  # older states used float32
