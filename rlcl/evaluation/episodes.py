"""Evaluation of a predictor on whole episodes in separate environments."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from rlcl.data.environments.action_masks import action_masks
from rlcl.errors import DivergenceError
from rlcl.types import EnvironmentSource, Predictor, masks_actions

__all__ = ["episode_returns"]

MAX_ENVS = 50  # maximum number of parallel environments


def episode_returns(
    predictor: Predictor, source: EnvironmentSource, episodes: int, episode_steps: int, task_id: int | None
) -> np.ndarray[Any, Any]:
    """Run whole episodes and compute their returns, (episodes,) float64.

    Each environment runs one episode. If several episodes per environment were counted as they end, short episodes
    would be overrepresented and the mean would be biased. Environment ``i`` is seeded with ``source.seed + i``, which
    is the same at each evaluation.

    Args:
        predictor: predictor with greedy actions.
        source: environment source; its ``num_envs`` applies only to training.
        episodes: number of episodes, at least 1.
        episode_steps: number of env steps after which an episode is truncated.
        task_id: index of the task, None if hidden.

    Raises:
        DivergenceError: an observation or a reward is not finite.
    """
    returns = [
        _one_episode_each(predictor, source, first, min(MAX_ENVS, episodes - first), episode_steps, task_id)
        for first in range(0, episodes, MAX_ENVS)
    ]
    return np.concatenate(returns)


def _one_episode_each(
    predictor: Predictor, source: EnvironmentSource, first: int, count: int, episode_steps: int, task_id: int | None
) -> np.ndarray[Any, Any]:
    """Run one episode in each of ``count`` parallel environments, and return the returns (count,).

    Environment ``i`` is seeded with ``source.seed + first + i``.
    """
    vector = source.make_vector(count)
    returns, running = np.zeros(count), np.ones(count, dtype=bool)
    try:
        observations, info = vector.reset(seed=source.seed + first)
        uses_masks = masks_actions(predictor)
        state: Any = None
        for step in range(1, episode_steps + 1):
            masks = {"action_masks": action_masks(vector, info)} if uses_masks else {}
            actions, state = predictor.predict(observations, task_id, state, **masks)
            observations, rewards, terminated, truncated, info = vector.step(np.asarray(actions))
            if isinstance(observations, np.ndarray) and not np.isfinite(observations[running]).all():
                raise DivergenceError(
                    f"environment {source.name} returned an observation that is not finite, in evaluation; fix the "
                    "environment"
                )
            returns += np.where(running, rewards, 0.0)
            if not math.isfinite(returns.dot(returns)):
                raise DivergenceError(
                    f"environment {source.name} returned a reward that is not finite, at step {step:,} of an episode, "
                    "in evaluation; fix the environment"
                )
            running &= ~(terminated | truncated)
            if not running.any():
                break
        else:
            warnings.warn(
                f"environment {source.name}: {int(running.sum())} of {count} episodes were truncated after "
                f"{episode_steps:,} env steps; set a time limit, or increase evaluation.episode_steps",
                stacklevel=2,
            )
    finally:
        vector.close()
    return returns
