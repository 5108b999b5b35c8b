"""Identity encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define
from torch import Tensor

from rlcl.types import Encoder, TaskIds

__all__ = ["Identity"]


@define
class Identity(Encoder):
    """Cast to float32 without further changes."""

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return observation_shape

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        return x.to(torch.float32)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
