"""MountainCarContinuous: MountainCar with a continuous action, the force of the motor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
from gymnasium.envs.classic_control.utils import maybe_parse_reset_bounds

from rlcl_envs.physics import Parameter
from rlcl_envs.single import ClassicSingle
from rlcl_envs.vector import Array, ClassicVector

__all__ = ["MountainCarContinuous", "MountainCarContinuousVector"]


class CarParameters(NamedTuple):
    """Parameters of k environments: arrays (k,), ``power`` and ``gravity`` float64, the others of one float type."""

    power: Array
    gravity: Array
    min_position: Array
    max_position: Array
    max_speed: Array
    goal_position: Array
    goal_velocity: Array

    def astype(self, dtype: type[np.floating[Any]]) -> CarParameters:
        """Return the parameters with another float type, except ``power`` and ``gravity``."""
        return CarParameters(self.power, self.gravity, *(values.astype(dtype) for values in self[2:]))

    def take(self, rows: Array) -> CarParameters:
        """Return the parameters of some environments."""
        return CarParameters(*(values[rows] for values in self))


def advance(state: Array, action: Array, parameters: CarParameters) -> tuple[Array, Array, Array]:
    """Compute one step of k environments.

    Gymnasium's environment has its state in single precision, except in the first step of an episode. It computes the
    force of an action within the range of actions in single precision, and of one outside it in double precision. The
    types of ``state`` and ``parameters`` determine the precision of the step.

    Args:
        state: positions and velocities, (2, k) float32 or float64.
        action: (k,) float32.
        parameters: parameters of the environments.

    Returns:
        The next positions and velocities (k,), and which cars reached the goal (k,).
    """
    position, velocity = state
    slope = parameters.gravity * np.cos((3 * position).astype(np.float64))
    change_float32 = action * parameters.power.astype(np.float32) - slope.astype(np.float32)
    change_float64 = np.sign(action) * parameters.power - slope
    velocity = velocity + np.where(np.abs(action) > 1, change_float64, change_float32).astype(velocity.dtype)
    velocity = np.clip(velocity, -parameters.max_speed, parameters.max_speed)
    position = np.clip(position + velocity, parameters.min_position, parameters.max_position)
    velocity[(position == parameters.min_position) & (velocity < 0)] = 0
    return position, velocity, (position >= parameters.goal_position) & (velocity >= parameters.goal_velocity)


def reward(action: Array, arrived: Array) -> Array:
    """Compute the rewards (k,) float64: 100 at the goal, minus a tenth of the squared action."""
    cost: Array = np.square(action.astype(np.float64)) * 0.1
    return np.where(arrived, 100.0, 0.0) - cost


class MountainCarContinuousVector(ClassicVector):
    """Vectorized MountainCarContinuous: all environments are computed in one NumPy step.

    State and observation: position and velocity. Action: force of the motor, in [-1, 1].

    Args:
        num_envs: number of environments, at least 1.
        max_episode_steps: env steps after which an episode is truncated.
        physics: values of parameters by name.
        goal_velocity: minimum velocity at the goal.

    Source: Moore 1990; physics as in Gymnasium's MountainCarContinuous-v0.
    """

    power = Parameter(0.0015)
    gravity = Parameter(0.0025)
    min_position = Parameter(-1.2, low=-1.2, high=-0.6)
    max_position = Parameter(0.6, low=-0.4, high=0.6)
    max_speed = Parameter(0.07, above=0, high=0.07)
    goal_position = Parameter(0.45, high=0.6)
    goal_velocity = Parameter(0.0, high=0.07)

    START_SAMPLES = 1

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int = 999,
        physics: Mapping[str, Any] | None = None,
        goal_velocity: float = 0,
    ) -> None:
        space = gym.spaces.Box(np.array([-1.2, -0.07], np.float32), np.array([0.6, 0.07], np.float32))
        physics = {"goal_velocity": goal_velocity, **(physics or {})}
        super().__init__(num_envs, max_episode_steps, physics, space, gym.spaces.Box(-1.0, 1.0, (1,), np.float32))

    def _derive(self) -> None:
        self._parameters = CarParameters(**{name: self.physics[name] for name in CarParameters._fields})
        self._parameters_float32 = self._parameters.astype(np.float32)

    def _start(self, samples: Array, options: Mapping[str, Any]) -> Array:
        low, high = maybe_parse_reset_bounds(dict(options), -0.6, -0.4)
        return np.concatenate([low + (high - low) * samples, np.zeros_like(samples)])

    def _observe(self, state: Array) -> Array:
        return state.T.astype(np.float32)

    def _advance(self, actions: Array) -> tuple[Array, Array]:
        action, first = actions[:, 0], np.flatnonzero(self.elapsed == 0)
        before = self.state[:, first]
        position, velocity, arrived = advance(self.state.astype(np.float32), action, self._parameters_float32)
        self.state[0], self.state[1] = position, velocity
        if first.size:
            position, velocity, arrived[first] = advance(before, action[first], self._parameters.take(first))
            self.state[:, first] = np.stack([position, velocity]).astype(np.float32)
        return reward(action, arrived), arrived


class MountainCarContinuous(ClassicSingle, Continuous_MountainCarEnv):
    """Gymnasium's MountainCarContinuous with parameters that can be changed by name, including gravity."""

    vector = MountainCarContinuousVector

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Perform a step as Gymnasium's environment does, with the formulas of the vector environment."""
        force = np.asarray(action, dtype=np.float32)
        values = {name: np.array([getattr(self, name)], dtype=np.float64) for name in CarParameters._fields}
        parameters = CarParameters(**values).astype(self.state.dtype.type)
        position, velocity, arrived = advance(self.state[:, None], force, parameters)
        self.state = np.concatenate([position, velocity], dtype=np.float32)
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        return self.state, float(reward(force, arrived)[0]), bool(arrived[0]), False, {}
