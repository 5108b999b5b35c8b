"""Pictures of classic control."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from rlcl_envs.rendering import ACCENT, BODY, render_image


def made(name: str, **state: object) -> gym.Env:
    env = gym.make(name).unwrapped
    env.reset(seed=0)
    for key, value in state.items():
        setattr(env, key, value)
    return env


def columns(drawn: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return np.flatnonzero((drawn == np.array(color)).all(2).any(0))


@pytest.mark.parametrize("prefix", ["", "rlcl_envs/"])
@pytest.mark.parametrize(
    "name", ["CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1", "Acrobot-v1"]
)
def test_gymnasiums_environments_and_ours_are_drawn_alike(prefix: str, name: str) -> None:
    drawn = render_image(made(prefix + name))
    assert (160, 240, 3) == drawn.shape
    assert np.uint8 == drawn.dtype
    assert np.array_equal(render_image(made(name)), drawn)


def test_the_cart_is_drawn_where_it_is() -> None:
    # The track of 4.8 and a pole of 0.5 give 5.3 over 240 pixels: 1.2 m lie 54.3 to the right of the middle.
    drawn = render_image(made("CartPole-v1", state=np.array([1.2, 0, 0, 0])))
    assert 174 == round(float(columns(drawn, BODY).mean()))


def test_a_longer_pole_leans_further() -> None:
    def reach(length: float) -> int:
        env = made("CartPole-v1", state=np.array([0, 0, 0.2, 0]), length=length)
        return int(columns(render_image(env), ACCENT).max())

    assert reach(0.5) > 121
    assert reach(1.5) > reach(0.5)


def test_what_is_unknown_or_not_reset_is_not_drawn() -> None:
    assert render_image(gym.make("CliffWalking-v1").unwrapped) is None
    assert render_image(gym.make("CartPole-v1").unwrapped) is None
