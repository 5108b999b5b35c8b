"""Constant offsets of observations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rlcl.errors import SettingError

__all__ = ["ObservationOffset"]


class ObservationOffset(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper that adds a constant vector to each observation.

    Args:
        env: the environment, whose observations are floats in one array.
        offset: the vector, with as many elements as an observation.

    Raises:
        SettingError: observations are no floats, or have another number of elements.
    """

    def __init__(self, env: gym.Env[Any, Any], offset: Sequence[float]) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, gym.spaces.Box) or not np.issubdtype(space.dtype, np.floating):
            raise SettingError(f"stream.observation_offsets needs observations of floats in one array, got {space}")
        if len(offset) != int(np.prod(space.shape)):
            raise SettingError(f"offset: expected {int(np.prod(space.shape))} numbers, got {len(offset)}")
        self._offset = np.array(offset, space.dtype).reshape(space.shape)
        self.observation_space = gym.spaces.Box(
            space.low + self._offset, space.high + self._offset, dtype=space.dtype.type
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return observation + self._offset, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation + self._offset, reward, terminated, truncated, info
