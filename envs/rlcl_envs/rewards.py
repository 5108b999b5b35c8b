"""Changes of rewards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

__all__ = ["ScaledReward"]


class ScaledReward(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper that multiplies rewards, in training and in evaluation.

    Args:
        env: the environment.
        scale: the factor.
    """

    def __init__(self, env: gym.Env[Any, Any], scale: float) -> None:
        super().__init__(env)
        self._scale = float(scale)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step; see :meth:`gymnasium.Env.step`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward) * self._scale, terminated, truncated, info

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the wrapper, which has none."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned."""
