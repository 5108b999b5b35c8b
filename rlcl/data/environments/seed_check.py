"""Check that an environment is reproducible with a seed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import zip_longest
from typing import Any

import gymnasium as gym
import numpy as np

from rlcl.data.environments.action_masks import current_mask, random_action

__all__ = ["copied", "ignores_seed", "same"]

AnyEnv = gym.Env[Any, Any]
STEPS = 10  # number of env steps that are compared


def ignores_seed(make: Callable[[], AnyEnv], env: AnyEnv) -> bool:
    """Return whether two resets with the same seed differ, or the first steps of two equal environments.

    Resets are compared on the unwrapped environment, because wrappers such as a running normalization may keep state
    across resets. Steps are compared on two new environments with their wrappers.

    Args:
        make: function that makes one environment, with the user's wrappers.
        env: one such environment; it is left in the middle of an episode.
    """
    return _resets_differ(env.unwrapped) or _steps_differ(make)


def _resets_differ(inner: AnyEnv) -> bool:
    try:
        first, second = (copied(inner.reset(seed=0)[0]) for _ in range(2))
    except Exception:  # the environment may only work with its wrappers
        return False
    return not same(first, second)


def _steps_differ(make: Callable[[], AnyEnv]) -> bool:
    with closing(make()) as one, closing(make()) as other:
        return any(not same(a, b) for a, b in zip_longest(_rollout(one), _rollout(other)))


def _rollout(env: AnyEnv) -> list[Any]:
    """Return the observations, rewards and ends of the first steps after a reset, always with the same actions."""
    env.action_space.seed(0)
    observation, info = env.reset(seed=0)
    steps = [copied(observation)]
    has_mask_method = env.has_wrapper_attr("action_masks")
    for _ in range(STEPS):
        action = random_action(env.action_space, current_mask(env, info, has_mask_method))
        observation, reward, terminated, truncated, info = env.step(action)
        steps.append((copied(observation), float(reward), bool(terminated), bool(truncated)))
        if terminated or truncated:
            break
    return steps


def copied(value: Any) -> Any:
    """Return a copy, because an environment may change the arrays that it returned."""
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return tuple(map(copied, value))
    return np.array(value) if isinstance(value, np.ndarray | np.generic | int | float) else repr(value)


def same(a: Any, b: Any) -> bool:
    """Return whether two values of :func:`copied` are equal, NaN included."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    return bool(a == b)
