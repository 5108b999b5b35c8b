"""Wrappers of rlcl_envs."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from rlcl_envs.mujoco import ScaledFriction
from rlcl_envs.rewards import ScaledReward
from rlcl_envs.spaces import UnboundedObservations

from rlcl.data.environments.state import restore_single, single_state


def test_rewards_are_scaled_and_the_state_is_saved() -> None:
    env, other = (ScaledReward(gym.make("CartPole-v1"), scale=0.05) for _ in range(2))
    env.reset(seed=0)
    assert env.step(0)[1] == 0.05
    other.reset(seed=9)
    restore_single(other, single_state(env))  # type: ignore[arg-type]
    np.testing.assert_array_equal(env.step(1)[0], other.step(1)[0])


class Model:
    geom_friction = np.ones((4, 3))


class Robot(gym.Env[Any, Any]):
    """Has a model like that of MuJoCo's environments."""

    def __init__(self) -> None:
        self.model = Model()
        self.model.geom_friction = np.array([[1.0, 0.5, 0.1]] * 4)


def test_the_friction_of_every_geom_is_scaled() -> None:
    robot = Robot()
    ScaledFriction(robot, scale=0.2)
    np.testing.assert_allclose(robot.model.geom_friction, np.array([[0.2, 0.1, 0.02]] * 4))
    with pytest.raises(ValueError, match="scale: expected a number above 0, got -1"):
        ScaledFriction(robot, scale=-1)


def test_bounds_of_observations_are_removed() -> None:
    env = UnboundedObservations(gym.make("Pendulum-v1"))
    assert env.observation_space == gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    assert env.reset(seed=0)[0] in env.observation_space
    with pytest.raises(ValueError, match="expected observations of floats"):
        UnboundedObservations(gym.make("FrozenLake-v1"))
