"""Random features whose inner product approximates a Gaussian kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.types import Encoder

__all__ = ["RandomFourier"]


@define(kw_only=True)
class RandomFourier(Encoder):
    """sqrt(2 / features) cos(W x + b): inner products approach exp(-|x - y|^2 / (2 width^2)).

    Args:
        features: how many.
        width: of the kernel, in the inputs' own units.
        seed: of W, normal with variance 1 / width^2, and of b, uniform in [0, 2 pi).

    Source: Rahimi & Recht 2007, Random features for large-scale kernel machines, algorithm 1.
    """

    features: int = option(512, ge=1)
    width: float = option(1.0, gt=0)
    seed: int = option(0, ge=0)
    _weights: Tensor | None = field(init=False, default=None)
    _phases: Tensor | None = field(init=False, default=None)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.features,)

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor) -> Tensor:
        values = x.flatten(1).to(torch.float32)
        if self._weights is None or self._phases is None:
            generator = torch.Generator().manual_seed(self.seed)
            self._weights = torch.randn(values.shape[1], self.features, generator=generator) / self.width
            self._phases = 2 * math.pi * torch.rand(self.features, generator=generator)
        return math.sqrt(2 / self.features) * torch.cos(values @ self._weights.to(values) + self._phases.to(values))

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self._weights, "phases": self._phases}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._weights, self._phases = state["weights"], state["phases"]
