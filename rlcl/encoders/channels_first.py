"""Conversion of images from channels last to channels first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from attrs import define
from torch import Tensor

from rlcl.errors import UnsupportedError
from rlcl.types import Encoder, TaskIds

__all__ = ["ChannelsFirst"]


@define(kw_only=True)
class ChannelsFirst(Encoder):
    """Permutation of images (height, width, channels) to (channels, height, width), without changing their values."""

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(observation_shape) != 3:
            raise UnsupportedError(
                f"encoder channels_first: expected images of shape (height, width, channels), got {observation_shape}; "
                "put it before encoders that change their shape, or remove it"
            )
        height, width, channels = observation_shape
        return (channels, height, width)

    def space(self, space: gym.spaces.Box) -> gym.spaces.Box:
        """Return a uint8 space for 8-bit images; see :meth:`rlcl.types.Encoder.space`."""
        self.shape(space.shape)
        low, high = (np.moveaxis(bound, -1, 0) for bound in (space.low, space.high))
        dtype = np.uint8 if space.dtype == np.uint8 else np.float32
        return gym.spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        return x.permute(0, 3, 1, 2).to(torch.float32).contiguous()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
