"""Pendulum: a rod that must be swung up and balanced with a torque."""

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
    """Vectorized Pendulum: all environments are computed in one NumPy step.

    State: angle in radians, 0 if upright, and angular velocity. Observation: cosine and sine of the angle, and the
    velocity. Action: torque, in [-2, 2].

    Args:
        num_envs: number of environments, at least 1.
        max_episode_steps: env steps after which an episode is truncated.
        physics: values of parameters by name.
        g: gravity.

    Source: physics as in Gymnasium's Pendulum-v1.
    """

    g = Parameter(10.0)
    m = Parameter(1.0, above=0)
    l = Parameter(1.0, above=0)  # noqa: E741  Gymnasium's name of the length
    dt = Parameter(0.05, above=0)  # duration of a step in seconds
    max_speed = Parameter(8.0, above=0, high=8.0)
    max_torque = Parameter(2.0, low=0, high=2.0)

    START_SAMPLES = 2

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
        self._gravity_factor = 3 * self.g / (2 * self.l)
        self._torque_factor = (3.0 / (self.m * np.float_power(self.l, 2))).astype(np.float32)
        self._max_torque = self.max_torque.astype(np.float32)
        self._max_speed, self._dt = self.max_speed, self.dt

    def _start(self, samples: Array, options: Mapping[str, Any]) -> Array:
        bounds = [options.get("x_init", DEFAULT_X), options.get("y_init", DEFAULT_Y)]
        high = np.array([[verify_number_and_cast(bound)] for bound in bounds])
        start: Array = -high + (high - -high) * samples
        return start

    def _observe(self, state: Array) -> Array:
        observations = np.empty((state.shape[1], 3), dtype=np.float32)
        observations[:, 0] = np.cos(state[0])
        observations[:, 1] = np.sin(state[0])
        observations[:, 2] = state[1]
        return observations

    def _advance(self, actions: Array) -> tuple[Array, Array]:
        angle, velocity = self.state
        torque = np.clip(actions[:, 0], -self._max_torque, self._max_torque)
        deviation = (angle + np.pi) % (2 * np.pi) - np.pi
        # For a number, x ** 2 is C's pow. For an array, it is x * x, which sometimes differs from pow by one bit.
        costs = np.float_power(deviation, 2) + 0.1 * np.float_power(velocity, 2) + np.float32(0.001) * square(torque)
        velocity += (self._gravity_factor * np.sin(angle) + self._torque_factor * torque) * self._dt
        np.clip(velocity, -self._max_speed, self._max_speed, out=velocity)
        angle += velocity * self._dt
        return -costs, np.zeros(self.num_envs, dtype=np.bool_)


def square(x: Array) -> Array:
    """Square (k,) float32 with the rounding of C's powf, which Gymnasium's reward uses.

    The rounding differs from that of a product only if the exact square is close to the midpoint between two float32
    numbers. These values, about one in 25, are computed one at a time.
    """
    exact = np.square(x, dtype=np.float64)
    rounded = exact.astype(np.float32)
    close = np.abs(exact - rounded) > 0.48 * np.spacing(rounded)
    for i in np.flatnonzero(close).tolist():
        rounded[i] = x[i] ** 2
    return rounded


class Pendulum(ClassicSingle, PendulumEnv):
    """Gymnasium's Pendulum with parameters that can be changed by name."""

    vector = PendulumVector
    STATE_ATTRIBUTES = ("state", "last_u")
