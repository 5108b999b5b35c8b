"""Whole episodes of a predictor on evaluation environments of its own."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from rlcl.data.environments.action_masks import action_masks
from rlcl.errors import DivergenceError
from rlcl.types import EnvironmentSource, Predictor, masks_actions

__all__ = ["episode_returns"]

SIDE_BY_SIDE = 50  # environments in one round


def episode_returns(
    predictor: Predictor, source: EnvironmentSource, episodes: int, episode_steps: int, task_id: int | None
) -> np.ndarray[Any, Any]:
    """Returns of whole episodes, (episodes,) float64.

    One episode an environment: dividing them otherwise favours short episodes, which end first
    (the same count from each environment is what makes the mean unbiased). Environment ``i`` is
    seeded with ``source.seed + i``, the same at each evaluation.

    Args:
        predictor: acts greedily.
        source: the recipe; its ``num_envs`` is for training alone.
        episodes: at least 1.
        episode_steps: where an episode is cut off.
        task_id: the task's number, None where hidden.

    Raises:
        DivergenceError: a reward is not finite.
    """
    rounds = [
        _one_each(predictor, source, start, min(SIDE_BY_SIDE, episodes - start), episode_steps, task_id)
        for start in range(0, episodes, SIDE_BY_SIDE)
    ]
    return np.concatenate(rounds)


def _one_each(
    predictor: Predictor, source: EnvironmentSource, first: int, count: int, episode_steps: int, task_id: int | None
) -> np.ndarray[Any, Any]:
    vector = source.make_vector(count)
    totals, running = np.zeros(count), np.ones(count, dtype=bool)
    try:
        observations, info = vector.reset(seed=source.seed + first)
        masking = masks_actions(predictor)
        state: Any = None
        for step in range(1, episode_steps + 1):
            allowed = {"action_masks": action_masks(vector, info)} if masking else {}
            actions, state = predictor.predict(observations, task_id, state, **allowed)
            observations, rewards, terminated, truncated, info = vector.step(np.asarray(actions))
            if isinstance(observations, np.ndarray) and not np.isfinite(observations[running]).all():
                raise DivergenceError(
                    f"environment {source.name} gave observations that are not finite while it was evaluated; mend it"
                )
            totals += np.where(running, rewards, 0.0)
            if not math.isfinite(totals.dot(totals)):
                raise DivergenceError(
                    f"environment {source.name} gave a reward that is not finite, at step {step:,} of an episode, "
                    "while it was evaluated; mend it"
                )
            running &= ~(terminated | truncated)
            if not running.any():
                break
        else:
            warnings.warn(
                f"environment {source.name}: {int(running.sum())} of {count} episodes were cut off after "
                f"{episode_steps:,} env steps; give it a time limit, or raise evaluation.episode_steps",
                stacklevel=2,
            )
    finally:
        vector.close()
    return totals
