"""Advantages by hand, and equal to those of Stable-Baselines3."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.buffers import RolloutBuffer

from rlcl.learners.reinforcement.returns import explained_variance, generalized_advantages

REWARDS = np.array([[1.0], [2.0], [3.0]], np.float32)
VALUES = np.ones((3, 1), np.float32)
NEVER = np.zeros((3, 1), bool)
SECOND = np.array([[False], [True], [False]])


def advantages(following: list[float], terminated: np.ndarray, ended: np.ndarray, gae_lambda: float) -> list[float]:
    next_values = np.array(following, np.float32)[:, None]
    found: list[float] = generalized_advantages(
        REWARDS, VALUES, next_values, terminated, ended, 0.5, gae_lambda
    ).flatten()
    return list(found)


def test_an_episode_that_goes_on() -> None:
    # Deltas 1 + 1/2 1 - 1, 2 + 1/2 1 - 1, 3 + 1/2 4 - 1 = 1/2, 3/2, 4; each adds a quarter of what follows.
    assert [1.125, 2.5, 4.0] == advantages([1, 1, 4], NEVER, NEVER, 0.5)


def test_a_terminal_state_is_worth_nothing() -> None:
    # The second delta is 2 - 1 = 1, whatever value is claimed, and nothing of the third flows back.
    assert [0.75, 1.0, 4.0] == advantages([1, 1000, 4], SECOND, SECOND, 0.5)


def test_a_truncated_episode_goes_on_in_value_and_its_successor_stays_apart() -> None:
    # The second delta is 2 + 1/2 10 - 1 = 6, of which a quarter flows back.
    assert [2.0, 6.0, 4.0] == advantages([1, 10, 4], NEVER, SECOND, 0.5)


def test_lambda_0_is_one_step_and_lambda_1_the_whole_return() -> None:
    assert [0.5, 1.5, 4.0] == advantages([1, 1, 4], NEVER, NEVER, 0.0)
    # 1 + 1/2 2 + 1/4 3 + 1/8 4 - 1, 2 + 1/2 3 + 1/4 4 - 1, 4.
    assert [2.25, 3.5, 4.0] == advantages([1, 1, 4], NEVER, NEVER, 1.0)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.9, 1.0])
def test_advantages_equal_those_of_stable_baselines3(gae_lambda: float) -> None:
    steps, count, gamma = 40, 3, 0.97
    rng = np.random.default_rng(1)
    rewards, values, next_values = rng.normal(size=(3, steps, count)).astype(np.float32)
    terminated, truncated = rng.random((2, steps, count)) < 0.15
    ended = terminated | truncated
    # The value of a state that did not end an episode is that of the next step.
    next_values[:-1] = np.where(ended[:-1], next_values[:-1], values[1:])
    ours = generalized_advantages(rewards, values, next_values, terminated, ended, gamma, gae_lambda)

    space = gym.spaces.Box(-1, 1, (1,))
    buffer = RolloutBuffer(steps, space, gym.spaces.Discrete(2), gamma=gamma, gae_lambda=gae_lambda, n_envs=count)
    starts = np.ones(count, bool)
    for t in range(steps):
        # As its collect_rollouts does: truncation adds the discounted value to the reward.
        given = rewards[t] + gamma * next_values[t] * (ended[t] & ~terminated[t])
        none = np.zeros((count, 1))
        buffer.add(none, none, given, starts, torch.from_numpy(values[t]), torch.zeros(count))
        starts = ended[t]
    buffer.compute_returns_and_advantage(torch.from_numpy(next_values[-1]), ended[-1])
    assert np.allclose(buffer.advantages, ours, atol=1e-5)
    assert np.float32 == ours.dtype


def test_explained_variance_by_hand() -> None:
    actual = np.array([1.0, 3.0])
    assert 1.0 == explained_variance(actual, actual)
    assert 0.0 == explained_variance(np.array([2.0, 2.0]), actual)
    # Errors 1 and -1 more than those of the mean: variance 4 of errors (-2, 2) over 1.
    assert -3.0 == explained_variance(np.array([3.0, 1.0]), actual)
    assert np.isnan(explained_variance(actual, np.ones(2)))
