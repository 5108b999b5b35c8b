"""Gymnasium environments of rlcl's own, registered on import. They never import rlcl."""

from __future__ import annotations

import gymnasium as gym

__all__: list[str] = []

gym.register(
    id="rlcl_envs/CartPole-v1",
    entry_point="gymnasium.envs.classic_control.cartpole:CartPoleEnv",
    vector_entry_point="rlcl_envs.cartpole:CartPoleVector",
    max_episode_steps=500,
    reward_threshold=475.0,
)
