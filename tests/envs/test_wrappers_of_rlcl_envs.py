"""Wrappers of rlcl_envs."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from rlcl_envs.mujoco import ScaledFriction
from rlcl_envs.rewards import ScaledReward
from rlcl_envs.seeds import SeedMethod
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


class OldGym(gym.Env[Any, Any]):
    """Draws its start from a generator of its own, which only a method ``seed`` sets, and ignores the seed of reset."""

    observation_space = gym.spaces.Box(0, 1, (1,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self) -> None:
        self.generator = np.random.default_rng()

    def seed(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return self.generator.random(1, np.float32), {}


def test_the_seed_of_reset_is_passed_to_the_method_seed() -> None:
    env, other = SeedMethod(OldGym()), SeedMethod(OldGym())
    first = env.reset(seed=3)[0]
    np.testing.assert_array_equal(first, other.reset(seed=3)[0])
    assert env.reset()[0] != first, "without a seed, the generator goes on"
    assert other.reset(seed=4)[0] != first
    with pytest.raises(ValueError, match=r"expected an environment with a method seed\(int\), got CartPoleEnv"):
        SeedMethod(gym.make("CartPole-v1"))
