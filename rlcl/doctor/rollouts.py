"""Repetition of recorded actions in a new environment."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np

from rlcl.data.environments.environment import Environment
from rlcl.data.environments.seed_check import copied

__all__ = ["as_action", "replay", "wrappers_of"]


def as_action(action: Any) -> Any:
    """Return a copy of a recorded action, because an environment may change the action that it receives."""
    return copy.deepcopy(action)


def replay(source: Environment, actions: Sequence[Any], seed: int, careless: bool = False) -> Iterator[Any]:
    """Yield the observation of each reset and the result of each step of a new environment.

    Args:
        source: makes the environment.
        actions: recorded actions.
        seed: seed of the environment.
        careless: whether each observation is overwritten after it was read.
    """
    with closing(source.unguarded(checker=False)) as env:
        observation, _ = env.reset(seed=seed)
        yield copied(observation)
        for action in actions:
            if careless:
                _overwrite(observation)
            observation, reward, terminated, truncated, _ = env.step(as_action(action))
            yield (copied(observation), float(reward), bool(terminated), bool(truncated))
            if terminated or truncated:
                observation, _ = env.reset()
                yield copied(observation)


def _overwrite(value: Any) -> None:
    if isinstance(value, dict):
        for part in value.values():
            _overwrite(part)
    elif isinstance(value, tuple | list):
        for part in value:
            _overwrite(part)
    elif isinstance(value, np.ndarray) and value.flags.writeable:
        value[...] = 0


def wrappers_of(env: gym.Env[Any, Any]) -> Iterator[gym.Wrapper[Any, Any, Any, Any]]:
    """Yield the wrappers of an environment, the outermost first."""
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env
