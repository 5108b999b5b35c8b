"""The single environments: what Gymnasium's checker wants, physics by name, other libraries."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from side_by_side import IDS
from stable_baselines3.common.env_util import make_vec_env


def single(name: str, **settings: Any) -> Any:
    return gym.make(f"rlcl_envs/{name}", **settings).unwrapped


@pytest.mark.parametrize("name", IDS)
def test_gymnasiums_checker_is_content(name: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(minimum|maximum) value is.*infinity", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*recommend using a symmetric and normalized", category=UserWarning)
        check_env(single(name), skip_render_check=True)


@pytest.mark.parametrize("name", IDS)
def test_parameters_are_those_of_the_vector(name: str) -> None:
    vector: Any = gym.make_vec(f"rlcl_envs/{name}", num_envs=1)
    assert {key: value.item() for key, value in vector.physics.items()} == single(name).physics


@pytest.mark.parametrize("name", IDS)
def test_stable_baselines_makes_them(name: str) -> None:
    vector = make_vec_env(f"rlcl_envs/{name}", n_envs=2, seed=0)
    assert (2, *vector.observation_space.shape) == vector.reset().shape  # type: ignore[misc]
    vector.step(np.stack([vector.action_space.sample() for _ in range(2)]))
    vector.close()


def test_physics_are_set_by_the_constructor_by_reset_and_by_name() -> None:
    env = single("Pendulum-v1", g=9.81, physics={"l": 2})
    assert (9.81, 2.0) == (env.g, env.l)
    env.reset(options={"physics": {"m": 3}})
    env.set_physics(dt=0.1)
    assert (3.0, 0.1, 9.81) == (env.physics["m"], env.dt, env.g)


def test_options_of_a_reset_are_left_as_they_were() -> None:
    options = {"physics": {"m": 3.0}, "x_init": 0.1}
    single("Pendulum-v1").reset(options=options)
    assert {"physics": {"m": 3.0}, "x_init": 0.1} == options


def test_a_new_mass_or_length_of_the_pole_is_applied_in_whole() -> None:
    env = single("CartPole-v1")
    env.length, env.masspole = 2.0, 0.3
    assert (0.6, 1.3) == (env.polemass_length, env.total_mass)


def test_a_wrong_parameter_is_named_and_changes_nothing() -> None:
    env = single("CartPole-v1")
    with pytest.raises(ValueError, match=r"CartPole has no parameter 'gravty'; it has gravity"):
        env.set_physics(gravty=1)
    with pytest.raises(ValueError, match=r"length: expected a finite number above 0, got 0"):
        env.set_physics(gravity=3, length=0)
    assert 9.8 == env.gravity


@pytest.mark.parametrize("name", IDS)
def test_a_restored_environment_goes_on_as_the_one_that_was_saved(name: str) -> None:
    env, restored = single(name), single(name)
    env.reset(seed=3)
    env.action_space.seed(0)
    env.set_physics(**{next(iter(env.physics)): next(iter(env.physics.values())) * 1.1})
    env.step(env.action_space.sample())
    restored.load_state_dict(env.state_dict())
    for _ in range(20):
        action = env.action_space.sample()
        for expected, actual in zip(env.step(action)[:3], restored.step(action)[:3], strict=True):
            np.testing.assert_array_equal(expected, actual)
    np.testing.assert_array_equal(env.reset()[0], restored.reset()[0])


def test_the_state_of_another_environment_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the state of CartPole, got that of Pendulum"):
        single("CartPole-v1").load_state_dict(single("Pendulum-v1").state_dict())
