"""Division by a constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.types import Encoder, TaskIds

__all__ = ["Scale"]


@define(kw_only=True)
class Scale(Encoder):
    """Division of inputs by a constant, by default so that they lie in [-1, 1].

    Args:
        maximum: divisor; null for 255 if inputs are 8-bit integers, otherwise for the maximum magnitude of the first
            inputs of the fit.
    """

    maximum: float | None = option(None, gt=0)
    _divisor: float | None = field(init=False, default=None)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return observation_shape

    def fit(self, x: Tensor) -> None:
        if self.maximum is None and self._divisor is None:
            largest = 255.0 if x.dtype == torch.uint8 else float(x.abs().max())
            self._divisor = largest or 1.0

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        # Multiplication by the inverse would differ from x / divisor in the last bit.
        divisor = self.maximum or self._divisor or 1.0
        if x.dtype == torch.float32:
            return x / divisor
        return x.to(torch.float32).div_(divisor)

    def state_dict(self) -> dict[str, Any]:
        return {"divisor": self._divisor}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._divisor = state["divisor"]
