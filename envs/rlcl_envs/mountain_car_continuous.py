"""MountainCarContinuous: the car of MountainCar with a motor that is driven by degrees."""

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


class Road(NamedTuple):
    """The car's surroundings: arrays (k,) of one float type but for ``power`` and ``gravity``, float64."""

    power: Array
    gravity: Array
    min_position: Array
    max_position: Array
    max_speed: Array
    goal_position: Array
    goal_velocity: Array

    def of(self, dtype: type[np.floating[Any]]) -> Road:
        return Road(self.power, self.gravity, *(values.astype(dtype) for values in self[2:]))

    def at(self, rows: Array) -> Road:
        return Road(*(values[rows] for values in self))


def drive(state: Array, action: Array, road: Road) -> tuple[Array, Array, Array]:
    """Positions and velocities, (k,) each, a step later, and which cars arrived.

    Gymnasium's environment keeps its state in single precision, except for an episode's first step,
    and a motor within its range multiplies in single precision; beyond it, in double. State and
    ``road`` come in the type in which the step is to be computed.

    Args:
        state: positions and velocities, (2, k) float32 or float64.
        action: (k,) float32.
        road: (k,) each.
    """
    position, velocity = state
    slope = road.gravity * np.cos((3 * position).astype(np.float64))
    within = action * road.power.astype(np.float32) - slope.astype(np.float32)
    beyond = np.sign(action) * road.power - slope
    velocity = velocity + np.where(np.abs(action) > 1, beyond, within).astype(velocity.dtype)
    velocity = np.clip(velocity, -road.max_speed, road.max_speed)
    position = np.clip(position + velocity, road.min_position, road.max_position)
    velocity[(position == road.min_position) & (velocity < 0)] = 0
    return position, velocity, (position >= road.goal_position) & (velocity >= road.goal_velocity)


def reward(action: Array, arrived: Array) -> Array:
    """100 for arriving less a tenth of the squared action, (k,) float64."""
    cost: Array = np.square(action.astype(np.float64)) * 0.1
    return np.where(arrived, 100.0, 0.0) - cost


class MountainCarContinuousVector(ClassicVector):
    """MountainCarContinuous in one NumPy step for all environments.

    State and observation: position and velocity. Action: the motor's force, in [-1, 1].

    Args:
        num_envs: at least 1.
        max_episode_steps: env steps after which an episode is truncated.
        physics: parameters by name.
        goal_velocity: the least velocity at the goal.

    Source: Moore 1990; physics as in Gymnasium's MountainCarContinuous-v0.
    """

    power = Parameter(0.0015)
    gravity = Parameter(0.0025)
    min_position = Parameter(-1.2, low=-1.2, high=-0.6)
    max_position = Parameter(0.6, low=-0.4, high=0.6)
    max_speed = Parameter(0.07, above=0, high=0.07)
    goal_position = Parameter(0.45, high=0.6)
    goal_velocity = Parameter(0.0, high=0.07)

    DRAWS = 1

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
        self._road = Road(**{name: self.physics[name] for name in Road._fields})
        self._single = self._road.of(np.float32)

    def _start(self, draws: Array, options: Mapping[str, Any]) -> Array:
        low, high = maybe_parse_reset_bounds(dict(options), -0.6, -0.4)
        return np.concatenate([low + (high - low) * draws, np.zeros_like(draws)])

    def _observe(self, state: Array) -> Array:
        return state.T.astype(np.float32)

    def _advance(self, actions: Array) -> tuple[Array, Array]:
        action, first = actions[:, 0], np.flatnonzero(self.elapsed == 0)
        before = self.state[:, first]
        position, velocity, arrived = drive(self.state.astype(np.float32), action, self._single)
        self.state[0], self.state[1] = position, velocity
        if first.size:
            position, velocity, arrived[first] = drive(before, action[first], self._road.at(first))
            self.state[:, first] = np.stack([position, velocity]).astype(np.float32)
        return reward(action, arrived), arrived


class MountainCarContinuous(ClassicSingle, Continuous_MountainCarEnv):
    """One MountainCarContinuous: Gymnasium's, with gravity a parameter too."""

    vector = MountainCarContinuousVector

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """As Gymnasium's, by the vector environment's formulas."""
        force = np.asarray(action, dtype=np.float32)
        road = Road(**{name: np.array([getattr(self, name)], dtype=np.float64) for name in Road._fields})
        position, velocity, arrived = drive(self.state[:, None], force, road.of(self.state.dtype.type))
        self.state = np.concatenate([position, velocity], dtype=np.float32)
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        return self.state, float(reward(force, arrived)[0]), bool(arrived[0]), False, {}
