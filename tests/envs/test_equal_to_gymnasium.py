"""The vector environments give what Gymnasium's own give, one by one, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from side_by_side import IDS, actions, assert_same_play, assert_same_state, assert_same_step, gymnasiums, ours

# Time limits at which the actions here end episodes in both ways; Pendulum's never terminate.
LIMITS = {"CartPole-v1": 14, "Acrobot-v1": 400, "MountainCarContinuous-v0": 300}


@pytest.mark.parametrize("name", IDS)
def test_ten_thousand_steps_are_gymnasiums_bit_for_bit(name: str) -> None:
    limit = {"max_episode_steps": LIMITS[name]} if name in LIMITS else {}
    expected, actual = gymnasiums(name, **limit), ours(name, **limit)
    terminated, truncated = assert_same_play(expected, actual, actions(actual, 10_000))
    assert (terminated > 0, truncated > 0) == (name != "Pendulum-v1", True)


CHANGES: dict[str, dict[str, list[float]]] = {
    "CartPole-v1": {"gravity": [9.8, 20, 3.7], "length": [0.5, 1.3, 0.3], "masspole": [0.1, 0.3, 0.07]},
    "Acrobot-v1": {"LINK_MASS_2": [1.0, 1.7, 0.6], "LINK_COM_POS_1": [0.5, 0.7, 0.3], "dt": [0.2, 0.1, 0.37]},
    "MountainCar-v0": {"force": [0.001, 0.0023, 0.0017], "gravity": [0.0025, 0.0031, 0.0019]},
    "MountainCarContinuous-v0": {"power": [0.0015, 0.0037, 0.0011], "max_speed": [0.07, 0.05, 0.061]},
    "Pendulum-v1": {"g": [10.0, 3.3, 17.1], "l": [1.0, 0.7, 1.3], "m": [1.0, 0.3, 2.1], "max_torque": [2.0, 1.1, 0.3]},
}


@pytest.mark.parametrize("name", IDS)
def test_physics_that_differ_and_change_while_running_are_gymnasiums_attributes(name: str) -> None:
    expected, actual = gymnasiums(name, 3), ours(name, 3)
    chosen = actions(actual, 900)
    expected.reset(seed=2)
    actual.reset(seed=2)
    for step, action in enumerate(chosen):
        if step == 150:
            for key, values in CHANGES[name].items():
                for i, env in enumerate(expected.envs):
                    setattr(env.unwrapped, key, values[i])
            for env in expected.envs if name == "CartPole-v1" else ():  # which Gymnasium's derives when it is made
                env.unwrapped.total_mass = env.unwrapped.masspole + env.unwrapped.masscart
                env.unwrapped.polemass_length = env.unwrapped.masspole * env.unwrapped.length
            actual.set_physics(**CHANGES[name])
        assert_same_step(expected.step(action), actual.step(action))
        assert_same_state(expected, actual)


@pytest.mark.parametrize("name", IDS)
def test_the_single_environment_is_gymnasiums_bit_for_bit(name: str) -> None:
    expected, actual = gymnasiums(name, 2), gymnasiums(f"rlcl_envs/{name}", 2)
    assert_same_play(expected, actual, actions(actual, 1200))


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("CartPole-v1", {"sutton_barto_reward": True}),
        ("MountainCar-v0", {"goal_velocity": 0.02}),
        ("MountainCarContinuous-v0", {"goal_velocity": 0.02}),
        ("Pendulum-v1", {"g": 9.81}),
    ],
)
def test_arguments_mean_what_they_mean_in_gymnasium(name: str, kwargs: dict[str, Any]) -> None:
    actual = ours(name, 2, **kwargs)
    assert_same_play(gymnasiums(name, 2, **kwargs), actual, actions(actual, 400))


def test_acrobot_knows_the_equations_of_the_paper() -> None:
    expected, actual = gymnasiums("Acrobot-v1", 2), ours("Acrobot-v1", 2, book_or_nips="nips")
    for env in expected.envs:
        env.unwrapped.book_or_nips = "nips"
    assert_same_play(expected, actual, actions(actual, 400))


def test_noise_on_acrobots_torque_is_gymnasiums() -> None:
    expected, actual = gymnasiums("Acrobot-v1", 2), ours("Acrobot-v1", 2, physics={"torque_noise_max": [0.0, 0.5]})
    expected.envs[1].unwrapped.torque_noise_max = 0.5
    assert_same_play(expected, actual, actions(actual, 700))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("CartPole-v1", {"low": -0.15, "high": 0.1}),
        ("Acrobot-v1", {"low": -1.5, "high": 1.5}),
        ("MountainCar-v0", {"low": -0.9, "high": 0.49}),
        ("MountainCarContinuous-v0", {"low": 0.3, "high": 0.449}),
        ("Pendulum-v1", {"x_init": 0.3, "y_init": 0.2}),
    ],
)
def test_options_of_a_reset_mean_what_they_mean_in_gymnasium(name: str, options: dict[str, float]) -> None:
    expected, actual = gymnasiums(name, 4), ours(name, 4)
    np.testing.assert_array_equal(*(v.reset(seed=[3, 1, 3, 4], options=options)[0] for v in (expected, actual)))
    for action in actions(actual, 30):
        assert_same_step(expected.step(action), actual.step(action))


@pytest.mark.parametrize("name", IDS)
def test_a_mask_restarts_some_of_them(name: str) -> None:
    expected, actual = gymnasiums(name, 4), ours(name, 4)
    chosen = actions(actual, 60)
    assert_same_play(expected, actual, chosen[:30])
    mask = np.array([True, False, False, True])
    first = expected.reset(options={"reset_mask": mask.copy()})[0]
    np.testing.assert_array_equal(first, actual.reset(options={"reset_mask": mask})[0])
    np.testing.assert_array_equal(
        expected.reset(seed=9, options={"reset_mask": ~mask})[0], actual.reset(seed=9, options={"reset_mask": ~mask})[0]
    )
    for action in chosen[30:]:
        assert_same_step(expected.step(action), actual.step(action))
