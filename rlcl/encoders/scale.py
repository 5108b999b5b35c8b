"""Divides by a constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.types import Encoder

__all__ = ["Scale"]


@define(kw_only=True)
class Scale(Encoder):
    """Divides inputs by a constant, by default so that they lie in [-1, 1].

    Args:
        maximum: what to divide by; None for 255 where inputs are whole numbers of 8 bits, else for
            the largest magnitude of the first inputs that it is fitted on.
    """

    maximum: float | None = option(None, gt=0)
    _divisor: float | None = field(init=False, default=None)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return observation_shape

    def fit(self, x: Tensor) -> None:
        if self.maximum is None and self._divisor is None:
            largest = 255.0 if x.dtype == torch.uint8 else float(x.abs().max())
            self._divisor = largest or 1.0

    def encode(self, x: Tensor) -> Tensor:
        # Multiplying by the inverse would differ in the last bit from what everyone calls x / 255.
        divisor = self.maximum or self._divisor or 1.0
        if x.dtype == torch.float32:
            return x / divisor
        return x.to(torch.float32).div_(divisor)

    def state_dict(self) -> dict[str, Any]:
        return {"divisor": self._divisor}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._divisor = state["divisor"]
