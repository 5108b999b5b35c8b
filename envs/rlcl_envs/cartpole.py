"""CartPole in one NumPy step for all environments."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AutoresetMode

__all__ = ["CartPoleVector"]


class CartPoleVector(CartPoleVectorEnv):
    """Gymnasium's own vector CartPole, with an ended episode restarting in the same step.

    Gymnasium's spends the step after an end on the reset, so that one sample in every episode is
    no transition. Here ``info["final_obs"]`` holds the last observations, and every step of every
    environment is a transition.

    Source: Barto, Sutton & Anderson 1983; physics as in Gymnasium's CartPole-v1.
    """

    metadata = {**CartPoleVectorEnv.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps all environments.

        Args:
            action: (num_envs,) 0 or 1.

        Returns:
            Observations (num_envs, 4) float32, rewards, terminated and truncated (num_envs,), and
            ``final_obs`` (num_envs, 4) with ``_final_obs`` (num_envs,) where episodes ended.
        """
        self.prev_done = np.zeros(self.num_envs, dtype=bool)
        observations, rewards, terminated, truncated, info = super().step(action)
        ended = terminated | truncated
        if ended.any():
            info = {**info, "final_obs": observations.copy(), "_final_obs": ended}
            state: np.ndarray = self.state  # type: ignore[assignment]
            state[:, ended] = self.np_random.uniform(self.low, self.high, size=(4, int(ended.sum())))
            self.steps[ended] = 0
            observations = state.T.astype(np.float32)
        return observations, rewards, terminated, truncated, info
