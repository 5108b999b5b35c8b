"""Images to vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from attrs import define
from torch import Tensor

__all__ = ["Flatten"]


@define
class Flatten:
    """(B, *observation) to (B, features) float32."""

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(observation_shape),)

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1).to(torch.float32)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
