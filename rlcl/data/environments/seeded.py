"""Whether an environment repeats itself under the same seed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import zip_longest
from typing import Any

import gymnasium as gym
import numpy as np

from rlcl.data.environments.action_masks import random_action, told_mask

__all__ = ["ignores_seed"]

AnyEnv = gym.Env[Any, Any]
STEPS = 10  # that are compared


def ignores_seed(make: Callable[[], AnyEnv], env: AnyEnv) -> bool:
    """Whether two resets of an environment under one seed differ, or the first steps of two that are alike.

    The resets are those of the environment under its wrappers, some of which, such as a running normalisation, rightly
    remember what they have seen; the steps are those of two new ones, wrapped.

    Args:
        make: one environment, as its user gave it.
        env: one of them; it is left in the middle of an episode.
    """
    return _resets_differ(env.unwrapped) or _runs_differ(make)


def _resets_differ(inner: AnyEnv) -> bool:
    try:
        first, second = (_frozen(inner.reset(seed=0)[0]) for _ in range(2))
    except Exception:  # a wrapper may repair what the environment itself refuses
        return False
    return not _same(first, second)


def _runs_differ(make: Callable[[], AnyEnv]) -> bool:
    with closing(make()) as one, closing(make()) as other:
        return any(not _same(a, b) for a, b in zip_longest(_run(one), _run(other)))


def _run(env: AnyEnv) -> list[Any]:
    """Observations, rewards and ends of the first steps after a reset, under the same actions always."""
    env.action_space.seed(0)
    observation, info = env.reset(seed=0)
    met = [_frozen(observation)]
    asked = env.has_wrapper_attr("action_masks")
    for _ in range(STEPS):
        action = random_action(env.action_space, told_mask(env, info, asked))
        observation, reward, terminated, truncated, info = env.step(action)
        met.append((_frozen(observation), float(reward), bool(terminated), bool(truncated)))
        if terminated or truncated:
            break
    return met


def _frozen(value: Any) -> Any:
    """A copy, for an environment may write into what it gave."""
    if isinstance(value, dict):
        return {key: _frozen(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return tuple(map(_frozen, value))
    return np.array(value) if isinstance(value, np.ndarray | np.generic | int | float) else repr(value)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    return bool(a == b)
