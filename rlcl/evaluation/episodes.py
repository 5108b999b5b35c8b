"""Evaluation of a predictor on whole episodes in separate environments."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen

from rlcl.data.environments.action_masks import action_masks, random_action
from rlcl.errors import DivergenceError
from rlcl.types import EnvironmentSource, Predictor, masks_actions

__all__ = ["Episodes", "RandomPolicy", "run_episodes"]

MAX_ENVS = 50  # maximum number of parallel environments


@frozen(eq=False)
class Episodes:
    """Results of N whole episodes.

    Args:
        returns: (N,) float64, undiscounted.
        lengths: (N,) int64, env steps.
        successes: (N,) float64, 1 for a success and 0 for a failure; NaN if the environment reports neither. An episode
            is a success if ``info["success"]`` was true in any step (Meta-World; Wolczyk et al. 2021, Continual World),
            or if ``info["is_success"]`` was true in its last step (Stable-Baselines3).
        score_range: returns that correspond to the scores 0 and 1; None if the task does not define them.
    """

    returns: np.ndarray[Any, Any]
    lengths: np.ndarray[Any, Any]
    successes: np.ndarray[Any, Any]
    score_range: tuple[float, float] | None = None


class RandomPolicy:
    """A predictor with uniformly random allowed actions.

    Args:
        source: environments that it acts in; their seed is that of its actions.
    """

    measures = ("return",)
    takes_action_masks = True

    def __init__(self, source: EnvironmentSource) -> None:
        self._space = source.spaces()[1]
        self._space.seed(source.seed)

    def predict(
        self, x: Any, task_id: int | None = None, state: Any = None, action_masks: Any = None
    ) -> tuple[Any, Any]:
        """See :class:`rlcl.types.Predictor`."""
        count = len(next(iter(x.values()))) if isinstance(x, dict) else len(x)
        masks = [None] * count if action_masks is None else action_masks
        return np.stack([random_action(self._space, mask) for mask in masks]), None


def run_episodes(
    predictor: Predictor,
    source: EnvironmentSource,
    episodes: int,
    episode_steps: int,
    task_id: int | None,
    sampled: bool = False,
) -> Episodes:
    """Run whole episodes.

    Each environment runs one episode. If several episodes per environment were counted as they end, short episodes
    would be overrepresented and the mean would be biased. Environment ``i`` is seeded with ``source.seed + i``, which
    is the same at each evaluation.

    Args:
        predictor: predictor of actions.
        source: environment source; its ``num_envs`` applies only to training.
        episodes: number of episodes, at least 1.
        episode_steps: number of env steps after which an episode is truncated.
        task_id: index of the task, None if hidden.
        sampled: whether actions are sampled from the policy, by :class:`rlcl.types.Sampling`, instead of greedy ones.

    Raises:
        DivergenceError: an observation or a reward is not finite.
    """
    parts = [
        _one_episode_each(predictor, source, first, min(MAX_ENVS, episodes - first), episode_steps, task_id, sampled)
        for first in range(0, episodes, MAX_ENVS)
    ]
    return Episodes(
        np.concatenate([part.returns for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.successes for part in parts]),
        source.score_range,
    )


def _one_episode_each(
    predictor: Any,
    source: EnvironmentSource,
    first: int,
    count: int,
    episode_steps: int,
    task_id: int | None,
    sampled: bool,
) -> Episodes:
    """Run one episode in each of ``count`` parallel environments; environment ``i`` has seed ``first + i``.

    The seeds are relative to ``source.seed``.
    """
    vector = source.make_vector(count)
    returns, lengths, running = np.zeros(count), np.zeros(count, np.int64), np.ones(count, dtype=bool)
    successes = np.full(count, np.nan)
    rng = {"rng": np.random.default_rng([source.seed, first])} if sampled else {}
    act = predictor.sample_actions if sampled else predictor.predict
    try:
        observations, info = vector.reset(seed=source.seed + first)
        uses_masks = masks_actions(predictor)
        state: Any = None
        for step in range(1, episode_steps + 1):
            masks = {"action_masks": action_masks(vector, info)} if uses_masks else {}
            actions, state = act(observations, task_id, state, **masks, **rng)
            observations, rewards, terminated, truncated, info = vector.step(np.asarray(actions))
            if isinstance(observations, np.ndarray) and not np.isfinite(observations[running]).all():
                raise DivergenceError(
                    f"environment {source.name} returned an observation that is not finite, in evaluation; fix the "
                    "environment"
                )
            returns += np.where(running, rewards, 0.0)
            lengths += running
            if not math.isfinite(returns.dot(returns)):
                raise DivergenceError(
                    f"environment {source.name} returned a reward that is not finite, at step {step:,} of an episode, "
                    "in evaluation; fix the environment"
                )
            ended = terminated | truncated
            _count_successes(successes, info, running, ended)
            running &= ~ended
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
    return Episodes(returns, lengths, successes)


def _count_successes(
    successes: np.ndarray[Any, Any],
    info: Mapping[str, Any],
    running: np.ndarray[Any, Any],
    ended: np.ndarray[Any, Any],
) -> None:
    """Update the successes (N,) of the running episodes from the info of a step, in place."""
    final = info.get("final_info", {})
    # The info of an environment whose episode has ended is that of the reset, and the last step's is in final_info.
    for values, rows in ((info, running & ~ended), (final, running & ended)):
        if "success" in values:
            known = rows & np.asarray(values["_success"], bool)
            successes[known] = np.fmax(successes[known], np.asarray(values["success"], np.float64)[known] != 0)
    if "is_success" in final:
        known = running & ended & np.asarray(final["_is_success"], bool)
        succeeded = np.asarray(final["is_success"], np.float64)[known] != 0
        successes[known] = np.fmax(successes[known], succeeded)
