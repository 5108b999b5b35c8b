"""MountainCar: a car in a valley whose engine is too weak to leave the valley without momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.mountain_car import MountainCarEnv
from gymnasium.envs.classic_control.utils import maybe_parse_reset_bounds

from rlcl_envs.physics import Parameter
from rlcl_envs.single import ClassicSingle
from rlcl_envs.vector import Array, ClassicVector

__all__ = ["MountainCar", "MountainCarVector"]


class MountainCarVector(ClassicVector):
    """Vectorized MountainCar: all environments are computed in one NumPy step.

    State and observation: position and velocity. Actions: 0 accelerate to the left, 1 do not accelerate, 2 accelerate
    to the right.

    Args:
        num_envs: number of environments, at least 1.
        max_episode_steps: env steps after which an episode is truncated.
        physics: values of parameters by name.
        goal_velocity: minimum velocity at the goal.

    Source: Moore 1990; physics as in Gymnasium's MountainCar-v0.
    """

    force = Parameter(0.001)
    gravity = Parameter(0.0025)
    min_position = Parameter(-1.2, low=-1.2, high=-0.6)
    max_position = Parameter(0.6, low=-0.4, high=0.6)
    max_speed = Parameter(0.07, above=0, high=0.07)
    goal_position = Parameter(0.5, high=0.6)
    goal_velocity = Parameter(0.0, high=0.07)

    START_SAMPLES = 1

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int = 200,
        physics: Mapping[str, Any] | None = None,
        goal_velocity: float = 0,
    ) -> None:
        space = gym.spaces.Box(np.array([-1.2, -0.07], np.float32), np.array([0.6, 0.07], np.float32))
        physics = {"goal_velocity": goal_velocity, **(physics or {})}
        super().__init__(num_envs, max_episode_steps, physics, space, gym.spaces.Discrete(3))

    def _derive(self) -> None:
        self._force, self._negative_gravity = self.force, -self.gravity
        self._max_speed, self._min_position, self._max_position = self.max_speed, self.min_position, self.max_position
        self._goal_position, self._goal_velocity = self.goal_position, self.goal_velocity

    def _start(self, samples: Array, options: Mapping[str, Any]) -> Array:
        low, high = maybe_parse_reset_bounds(dict(options), -0.6, -0.4)
        return np.concatenate([low + (high - low) * samples, np.zeros_like(samples)])

    def _observe(self, state: Array) -> Array:
        return state.T.astype(np.float32)

    def _advance(self, actions: Array) -> tuple[Array, Array]:
        position, velocity = self.state
        velocity += (actions - 1) * self._force + np.cos(3 * position) * self._negative_gravity
        np.clip(velocity, -self._max_speed, self._max_speed, out=velocity)
        position += velocity
        np.clip(position, self._min_position, self._max_position, out=position)
        velocity[(position == self._min_position) & (velocity < 0)] = 0
        terminated = (position >= self._goal_position) & (velocity >= self._goal_velocity)
        return np.full(self.num_envs, -1.0), terminated


class MountainCar(ClassicSingle, MountainCarEnv):
    """Gymnasium's MountainCar with parameters that can be changed by name."""

    vector = MountainCarVector
