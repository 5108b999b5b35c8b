"""Environments that do not repeat themselves under a seed."""

from __future__ import annotations

import random
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlcl.data.environments.environment import Environment
from rlcl.data.environments.seed_check import ignores_seed


class Own(gym.Env[Any, Any]):
    """Draws by a generator of its own, which a seed does not reach."""

    observation_space, action_space = gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(2)

    def __init__(self) -> None:
        self.own = np.random.default_rng(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.own.random(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), 0.0, False, False, {}


class Later(Own):
    """Resets as it should, and draws by Python's global generator afterwards."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.random(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), random.random(), False, False, {}


def normalized() -> gym.Env[Any, Any]:
    """Remembers what it has seen, as it should."""
    return gym.wrappers.NormalizeObservation(gym.make("CartPole-v1").unwrapped)


@pytest.mark.parametrize(
    ("make", "expected"),
    [(Own, True), (Later, True), (lambda: gym.make("CartPole-v1"), False), (normalized, False)],
)
def test_a_seed_that_is_ignored(make: Any, expected: bool) -> None:
    assert expected == ignores_seed(make, make())


def test_a_check_says_so(caplog: pytest.LogCaptureFixture) -> None:
    Environment(Own, name="own").check()
    assert "environment own: two resets with the same seed give different episodes" in caplog.text
