"""Pendulum: a rod that is to be swung up and balanced by a torque."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.pendulum import DEFAULT_X, DEFAULT_Y, PendulumEnv
from gymnasium.envs.classic_control.utils import verify_number_and_cast

from rlcl_envs.physics import Parameter
from rlcl_envs.single import ClassicSingle
from rlcl_envs.vector import Array, ClassicVector

__all__ = ["Pendulum", "PendulumVector"]


class PendulumVector(ClassicVector):
    """Pendulum in one NumPy step for all environments.

    State: angle in radians, 0 upright, and its velocity. Observation: cosine and sine of the angle, and
    the velocity. Action: the torque, in [-2, 2].

    Args:
        num_envs: at least 1.
        max_episode_steps: env steps after which an episode is truncated.
        physics: parameters by name.
        g: gravity.

    Source: physics as in Gymnasium's Pendulum-v1.
    """

    g = Parameter(10.0)
    m = Parameter(1.0, above=0)
    l = Parameter(1.0, above=0)  # noqa: E741  Gymnasium's name of the length
    dt = Parameter(0.05, above=0)  # seconds of a step
    max_speed = Parameter(8.0, above=0, high=8.0)
    max_torque = Parameter(2.0, low=0, high=2.0)

    DRAWS = 2

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int = 200,
        physics: Mapping[str, Any] | None = None,
        g: float = 10.0,
    ) -> None:
        high = np.array([1.0, 1.0, 8.0], dtype=np.float32)
        spaces = gym.spaces.Box(-high, high), gym.spaces.Box(-2.0, 2.0, (1,), np.float32)
        super().__init__(num_envs, max_episode_steps, {"g": g, **(physics or {})}, *spaces)

    def _derive(self) -> None:
        self._fall = 3 * self.g / (2 * self.l)
        self._push = (3.0 / (self.m * np.float_power(self.l, 2))).astype(np.float32)
        self._torque = self.max_torque.astype(np.float32)
        self._speed, self._dt = self.max_speed, self.dt

    def _start(self, draws: Array, options: Mapping[str, Any]) -> Array:
        bounds = [options.get("x_init", DEFAULT_X), options.get("y_init", DEFAULT_Y)]
        high = np.array([[verify_number_and_cast(bound)] for bound in bounds])
        start: Array = -high + (high - -high) * draws
        return start

    def _observe(self, state: Array) -> Array:
        observations = np.empty((state.shape[1], 3), dtype=np.float32)
        observations[:, 0] = np.cos(state[0])
        observations[:, 1] = np.sin(state[0])
        observations[:, 2] = state[1]
        return observations

    def _advance(self, actions: Array) -> tuple[Array, Array]:
        angle, turning = self.state
        torque = np.clip(actions[:, 0], -self._torque, self._torque)
        upright = (angle + np.pi) % (2 * np.pi) - np.pi
        # x * x, which x ** 2 is for arrays, is now and then one bit off C's pow, which it is for numbers.
        costs = np.float_power(upright, 2) + 0.1 * np.float_power(turning, 2) + np.float32(0.001) * squared(torque)
        turning += (self._fall * np.sin(angle) + self._push * torque) * self._dt
        np.clip(turning, -self._speed, self._speed, out=turning)
        angle += turning * self._dt
        return -costs, np.zeros(self.num_envs, dtype=np.bool_)


def squared(x: Array) -> Array:
    """Squares (k,) float32 as C's powf gives them, which Gymnasium's reward takes.

    It rounds otherwise than a product only where the exact square lies close to the middle between
    two numbers: those few, about one in 25, are computed one by one.
    """
    exact = np.square(x, dtype=np.float64)
    rounded = exact.astype(np.float32)
    close = np.abs(exact - rounded) > 0.48 * np.spacing(rounded)
    for i in np.flatnonzero(close).tolist():
        rounded[i] = x[i] ** 2
    return rounded


class Pendulum(ClassicSingle, PendulumEnv):
    """One Pendulum: Gymnasium's, whose physics can be changed by name."""

    vector = PendulumVector
    MEMORY = ("state", "last_u")
