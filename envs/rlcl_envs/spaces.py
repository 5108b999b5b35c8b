"""Changes of spaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

__all__ = ["UnboundedObservations"]


class UnboundedObservations(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper whose observation space has no bounds, for environments whose observations leave their space.

    Args:
        env: the environment, whose observations are floats in one array.

    Raises:
        ValueError: observations are no floats in one array.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, gym.spaces.Box) or not np.issubdtype(space.dtype, np.floating):
            raise ValueError(f"expected observations of floats in one array (Box), got {space}")
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, space.shape, space.dtype.type)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the wrapper, which has none."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned."""
