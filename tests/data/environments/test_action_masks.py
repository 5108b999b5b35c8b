"""What environments allow, in the states that they go on from and in those that an episode ended in."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlcl.data.environments.action_masks import action_masks, next_state_masks
from rlcl.data.environments.environment import Environment
from rlcl.data.validation import check_environment


class Numbered(gym.Env[Any, Any]):
    """Cut off after two steps; its state is a number, and the action of that number is the only one allowed."""

    def __init__(self, end: str = "truncated") -> None:
        self.observation_space = gym.spaces.Box(0, 2, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(3)
        self.end, self.at, self.asked = end, 0, 0

    def action_masks(self) -> list[bool]:
        self.asked += 1
        return [self.at == i for i in range(3)]

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        over = self.at == 2
        ends = (over and self.end != "truncated", over and self.end == "truncated")
        return np.array([self.at], np.float32), 0.0, *ends, {}


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_a_method_is_asked_in_each_state_and_in_the_last_one_too(vectorization: Any) -> None:
    vector = Environment(Numbered, vectorization=vectorization).make_vector(2)
    masks = action_masks(vector, vector.reset(seed=0)[1])
    now, followed = [masks], []
    for _ in range(3):
        *_, terminated, truncated, info = vector.step(np.zeros(2, np.int64))
        masks = action_masks(vector, info)
        assert masks is not None
        now.append(masks)
        followed.append(next_state_masks(masks, terminated | truncated, info))
    allowed_in = [np.argmax(m, 1).tolist() for m in (*now, *followed)]  # type: ignore[arg-type]
    assert [[0, 0], [1, 1], [0, 0], [1, 1], [1, 1], [2, 2], [1, 1]] == allowed_in
    vector.close()


def test_a_last_state_of_which_nothing_is_known_allows_all() -> None:
    masks = np.array([[True, False], [False, True], [True, False], [False, True]])
    ended = np.array([False, True, True, False])
    assert np.array_equal(masks, next_state_masks(masks, np.zeros(4, bool), {}))
    expected = [[True, False], [True, True], [True, True], [False, True]]
    assert expected == next_state_masks(masks, ended, {}).tolist()
    told = {"action_mask": np.array([[0, 0], [1, 0], [0, 0], [0, 0]], np.int8)}  # the third one allows nothing
    expected = [[True, False], [True, False], [True, True], [False, True]]
    assert expected == next_state_masks(masks, ended, {"final_info": told}).tolist()


def test_a_method_is_not_asked_in_a_terminal_state() -> None:
    source = Environment(Numbered, kwargs={"end": "terminated"})
    vector: Any = source.make_vector(1)
    vector.reset(seed=0)
    for _ in range(2):
        vector.step(np.zeros(1, np.int64))
    assert 3 == vector.envs[0].unwrapped.asked  # the first state, the one after it, and the next episode's first
    check_environment(vector.envs[0].unwrapped, "numbered")
