"""Gymnasium's classic control and ours, made, played and compared side by side."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import rlcl_envs  # noqa: F401  its import registers them
from gymnasium.vector import AutoresetMode

IDS = ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"]
COUNT = 8


def gymnasiums(name: str, count: int = COUNT, **kwargs: Any) -> Any:
    """Theirs, one by one, restarting in the same step."""
    modes = {"autoreset_mode": AutoresetMode.SAME_STEP}
    return gym.make_vec(name, num_envs=count, vectorization_mode="sync", vector_kwargs=modes, **kwargs)


def ours(name: str, count: int = COUNT, **kwargs: Any) -> Any:
    """All of them in one NumPy step."""
    return gym.make_vec(f"rlcl_envs/{name}", num_envs=count, vectorization_mode="vector_entry_point", **kwargs)


def actions(vector: Any, steps: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Actions that end episodes on both sides: random ones, held for a while, beyond a motor's range too."""
    rng = np.random.default_rng(seed)
    shape = (steps // 8 + 1, vector.num_envs)
    space = vector.single_action_space
    if isinstance(space, gym.spaces.Discrete):
        return np.repeat(rng.integers(0, int(space.n), shape), 8, axis=0)[:steps]
    return np.repeat(rng.uniform(-2.5, 2.5, (*shape, 1)).astype(np.float32), 8, axis=0)[:steps]


def assert_same_step(expected: Any, actual: Any) -> None:
    for theirs, mine in zip(expected[:4], actual[:4], strict=True):
        assert theirs.dtype == mine.dtype
        np.testing.assert_array_equal(theirs, mine)
    theirs, mine = expected[4], actual[4]
    assert theirs.keys() == mine.keys()
    if theirs:
        assert theirs["final_info"] == mine["final_info"]
        assert theirs["_final_obs"].tolist() == mine["_final_obs"].tolist()
        assert theirs["_final_info"].tolist() == mine["_final_info"].tolist()
        for a, b in zip(theirs["final_obs"], mine["final_obs"], strict=True):
            np.testing.assert_array_equal(a, b)


def assert_same_state(expected: Any, actual: Any) -> None:
    """In double precision, where observations are in single."""
    theirs = np.stack([env.unwrapped.state for env in expected.envs], 1)
    mine = actual.state if hasattr(actual, "state") else np.stack([env.unwrapped.state for env in actual.envs], 1)
    np.testing.assert_array_equal(theirs, mine)


def assert_same_play(expected: Any, actual: Any, chosen: np.ndarray[Any, Any], *, seed: Any = 5) -> tuple[int, int]:
    """Plays both with the same actions; how many episodes terminated and how many were truncated."""
    first, second = expected.reset(seed=seed), actual.reset(seed=seed)
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]
    terminated = truncated = 0
    for action in chosen:
        theirs, mine = expected.step(action), actual.step(action)
        assert_same_step(theirs, mine)
        assert_same_state(expected, actual)
        terminated += int(mine[2].sum())
        truncated += int(mine[3].sum())
    return terminated, truncated
