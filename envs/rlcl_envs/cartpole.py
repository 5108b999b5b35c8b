"""CartPole: a pole on a cart that is pushed to the left or right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.envs.classic_control.utils import maybe_parse_reset_bounds

from rlcl_envs.physics import Parameter
from rlcl_envs.single import ClassicSingle
from rlcl_envs.vector import Array, ClassicVector

__all__ = ["CartPole", "CartPoleVector"]

ANGLE = 12 * 2 * math.pi / 360  # angle beyond which the pole counts as fallen, in radians
TRACK = 2.4  # distance from the centre to either end of the track, in metres


class CartPoleVector(ClassicVector):
    """Vectorized CartPole: all environments are computed in one NumPy step.

    State and observation: position, velocity, angle, angular velocity. Actions: 0 left, 1 right.

    Args:
        num_envs: number of environments, at least 1.
        max_episode_steps: env steps after which an episode is truncated.
        physics: values of parameters by name.
        sutton_barto_reward: whether the reward is -1 at termination and 0 otherwise, instead of 1 for each step.

    Source: Barto, Sutton & Anderson 1983; physics as in Gymnasium's CartPole-v1.
    """

    gravity = Parameter(9.8)
    masscart = Parameter(1.0, above=0)
    masspole = Parameter(0.1, above=0)
    length = Parameter(0.5, above=0)  # half the length of the pole
    force_mag = Parameter(10.0)
    tau = Parameter(0.02, above=0)  # duration of a step in seconds
    x_threshold = Parameter(TRACK, above=0)
    theta_threshold_radians = Parameter(ANGLE, above=0)

    START_SAMPLES = 4

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int = 500,
        physics: Mapping[str, Any] | None = None,
        sutton_barto_reward: bool = False,
    ) -> None:
        high = np.array([TRACK * 2, np.inf, ANGLE * 2, np.inf], dtype=np.float32)
        spaces = gym.spaces.Box(-high, high, dtype=np.float32), gym.spaces.Discrete(2)
        self._sutton_barto_reward = sutton_barto_reward
        self._cos, self._sin, self._temporary, self._push = np.empty((4, num_envs))
        self._rates, self._limits = np.empty((4, num_envs)), np.empty((2, num_envs))
        super().__init__(num_envs, max_episode_steps, physics, *spaces)

    def _derive(self) -> None:
        self._total_mass = self.masscart + self.masspole
        self._polemass_length = self.masspole * self.length
        self._gravity, self._masspole, self._length, self._tau = self.gravity, self.masspole, self.length, self.tau
        self._force_left, self._force_right = -self.force_mag, self.force_mag
        self._limits[0], self._limits[1] = self.x_threshold, self.theta_threshold_radians

    def _start(self, samples: Array, options: Mapping[str, Any]) -> Array:
        low, high = maybe_parse_reset_bounds(dict(options), -0.05, 0.05)
        return low + (high - low) * samples

    def _observe(self, state: Array) -> Array:
        return state.T.astype(np.float32)

    def _advance(self, actions: Array) -> tuple[Array, Array]:
        # The last bit depends on the order of operations, which is Gymnasium's. Results go into preallocated arrays.
        _, velocity, angle, angular_velocity = self.state
        cos, sin = np.cos(angle, out=self._cos), np.sin(angle, out=self._sin)
        push, temporary, rates = self._push, self._temporary, self._rates
        np.square(angular_velocity, out=push)
        push *= self._polemass_length
        push *= sin
        push += np.where(actions, self._force_right, self._force_left)
        push /= self._total_mass

        rates[0], rates[2] = velocity, angular_velocity
        angular_acceleration = rates[3]
        np.square(cos, out=angular_acceleration)
        angular_acceleration *= self._masspole
        angular_acceleration /= self._total_mass
        np.subtract(4.0 / 3.0, angular_acceleration, out=angular_acceleration)
        angular_acceleration *= self._length
        sin *= self._gravity
        sin -= np.multiply(cos, push, out=temporary)
        np.divide(sin, angular_acceleration, out=angular_acceleration)

        np.multiply(self._polemass_length, angular_acceleration, out=temporary)
        temporary *= cos
        temporary /= self._total_mass
        np.subtract(push, temporary, out=rates[1])
        rates *= self._tau
        self.state += rates

        out_of_bounds = np.abs(self.state[::2]) > self._limits
        terminated = out_of_bounds[0] | out_of_bounds[1]
        if self._sutton_barto_reward:
            return np.where(terminated, -1.0, 0.0), terminated
        return np.ones(self.num_envs), terminated


class CartPole(ClassicSingle, CartPoleEnv):
    """Gymnasium's CartPole with parameters that can be changed by name."""

    vector = CartPoleVector
    STATE_ATTRIBUTES = ("state", "steps_beyond_terminated")

    # Gymnasium's environment stores these two values, so that a new mass or length would not change them.
    @property
    def total_mass(self) -> float:
        """Mass of pole and cart."""
        return self.masspole + self.masscart

    @total_mass.setter
    def total_mass(self, value: float) -> None: ...

    @property
    def polemass_length(self) -> float:
        """Mass of the pole times half its length."""
        return self.masspole * self.length

    @polemass_length.setter
    def polemass_length(self, value: float) -> None: ...
