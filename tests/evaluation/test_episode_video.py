"""Films of a predictor."""

from __future__ import annotations

import os
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from rlcl.data.environments.environment import Environment
from rlcl.errors import UnsupportedError
from rlcl.evaluation.episode_video import record_episode
from rlcl.evaluation.episodes import run_episodes


class Leaning:
    """Pushes the cart to where the pole leans."""

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
        return (np.asarray(x)[:, 2] > 0).astype(int), None


class Counting(gym.Env):
    """Ends after three steps of reward 2; its picture counts them."""

    observation_space, action_space = Box(0, 9, (3,)), Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.steps = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return np.zeros(3, np.float32), 2.0, self.steps == 3, False, {}

    def render(self) -> Any:
        return np.full((4, 6, 3), self.steps, np.uint8)


def test_frames_and_returns_before_each_step() -> None:
    shot = record_episode(Leaning(), Environment(Counting, name="counting"), None, frames=9)
    assert [0, 1, 2] == [int(frame[0, 0, 0]) for frame in shot.frames]
    assert (0.0, 2.0, 6.0) == shot.returns  # the last one is that of the whole episode
    assert shot.ended


@pytest.mark.parametrize(("frames", "every", "shown", "total"), [(2, 1, [0, 1], 4.0), (2, 2, [0, 2], 6.0)])
def test_a_film_ends_after_its_frames(frames: int, every: int, shown: list[int], total: float) -> None:
    shot = record_episode(Leaning(), Environment(Counting, name="counting"), None, frames, every)
    assert shown == [int(frame[0, 0, 0]) for frame in shot.frames]
    assert total == shot.returns[-1]


@pytest.mark.parametrize("vectorization", ["sync", "native"])
def test_the_first_episode_of_an_evaluation_is_filmed(vectorization: Any) -> None:
    source = Environment("rlcl_envs/CartPole-v1", vectorization=vectorization, seed=5, num_envs=3)
    (expected,) = run_episodes(Leaning(), source, 1, 500, None).returns
    shot = record_episode(Leaning(), source, None, frames=500)
    assert shot.ended
    assert expected == shot.returns[-1] == len(shot.frames)


def test_what_cannot_be_drawn_is_not_filmed() -> None:
    class Blind(Counting):
        def __init__(self) -> None: ...

    assert record_episode(Leaning(), Environment(Blind, name="blind"), None, frames=2) is None
    assert record_episode(Leaning(), Environment("CliffWalking-v1", name="needs pygame"), None, frames=2) is None


def test_a_drawing_that_ends_its_process_ends_no_other() -> None:
    class Aborting(Counting):
        def render(self) -> Any:
            os.abort()

    with pytest.raises(UnsupportedError, match=r"environment aborting cannot be rendered for a video: .*MUJOCO_GL"):
        record_episode(Leaning(), Environment(Aborting, name="aborting"), None, frames=2)


def test_why_an_environment_is_not_filmed_is_said(caplog: pytest.LogCaptureFixture) -> None:
    class Undrawn(Counting):
        def render(self) -> Any:
            raise OSError("no display")

    assert record_episode(Leaning(), Environment(Undrawn, name="undrawn"), None, frames=2) is None
    assert "no video of environment undrawn, because it cannot be rendered: OSError: no display" in caplog.text
