"""Whole numbers to indicator vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define
from torch import Tensor

from rlcl.config import option
from rlcl.errors import DataError

__all__ = ["OneHot"]


@define(kw_only=True)
class OneHot:
    """(B, *observation) whole numbers in [0, classes) to (B, features * classes) of 0 and 1.

    Args:
        classes: how many values there are.
    """

    classes: int = option(ge=2, help="how many values there are")

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(observation_shape) * self.classes,)

    def fit(self, x: Tensor) -> None:
        low, high = float(x.min()), float(x.max())
        if low < 0 or high >= self.classes or bool((x != x.round() if x.is_floating_point() else x < 0).any()):
            raise DataError(f"encoder one_hot: expected whole numbers in 0..{self.classes - 1}, got {low} to {high}")

    def encode(self, x: Tensor) -> Tensor:
        values = x.flatten(1).long().clamp(0, self.classes - 1)
        return F.one_hot(values, self.classes).flatten(1).to(torch.float32)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
