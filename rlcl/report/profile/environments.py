"""Profile of experiences with environments, from rollouts of uniformly random actions."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
from attrs import field, frozen

from rlcl.data.environments.action_masks import random_action
from rlcl.evaluation.results import Array
from rlcl.types import EnvironmentSource, Stream

__all__ = ["RandomRollout", "profile_environments", "random_rollout"]

MAX_STORED_NUMBERS = 1024  # of an observation, evenly spaced; whole images of a thousand steps would need much memory
MAX_FEATURES = 64  # numbers of an observation with separate statistics


@frozen(eq=False)
class RandomRollout:
    """A rollout of uniformly random actions.

    Args:
        indices: (F,) indices of the stored numbers of a flat observation, at most 1,024; F is 0 if observations are
            not arrays.
        observations: (steps, F) float64.
        rewards: (steps,) rewards.
        returns, lengths: return and length of each finished episode.
        terminated: number of finished episodes that were terminated, not truncated.
        seconds: duration of all steps and resets.
    """

    indices: Array
    observations: Array
    rewards: Array
    returns: list[float] = field(factory=list)
    lengths: list[int] = field(factory=list)
    terminated: int = 0
    seconds: float = 0.0


def random_rollout(source: EnvironmentSource, steps: int) -> RandomRollout:
    """Run one environment with allowed actions sampled uniformly; the seed of the source makes it reproducible."""
    env = source.make()
    space = env.observation_space
    count = int(np.prod(space.shape)) if isinstance(space, gym.spaces.Box) else 0
    indices = np.unique(np.linspace(0, count - 1, min(count, MAX_STORED_NUMBERS)).astype(np.int64))
    observations, rewards, returns, lengths, terminations = [], [], [], [], 0
    try:
        env.action_space.seed(source.seed)
        start_time = time.perf_counter()
        observation, info = env.reset(seed=source.seed)
        start = 0
        for step in range(steps):
            observations.append(np.ravel(observation)[indices] if count else np.empty(0))
            action = random_action(env.action_space, info.get("action_mask"))
            observation, reward, terminated, truncated, info = env.step(action)
            rewards.append(float(reward))
            if terminated or truncated:
                returns.append(sum(rewards[start:]))
                lengths.append(step + 1 - start)
                terminations, start = terminations + bool(terminated), step + 1
                observation, info = env.reset()
        seconds = time.perf_counter() - start_time
    finally:
        env.close()
    stored = np.array(observations, np.float64)
    return RandomRollout(indices, stored, np.array(rewards), returns, lengths, terminations, seconds)


def profile_environments(stream: Stream, steps: int) -> tuple[list[dict[str, Any]], list[RandomRollout]]:
    """Return spaces, rewards, episodes and speed of each experience, and the rollouts for comparing experiences.

    Args:
        stream: stream of environments.
        steps: env steps in each environment.
    """
    profiles, rollouts = [], []
    for experience in stream:
        source = experience.environment
        spaces, rollout = source.spaces(), random_rollout(source, steps)
        rollouts.append(rollout)
        profiles.append(
            {
                "index": experience.index,
                "name": experience.name,
                "environment": source.name,
                "kwargs": {key: str(value) for key, value in source.kwargs.items()},
                "attributes": {key: str(value) for key, value in source.attributes.items()},
                "observation_space": str(spaces[0]),
                "action_space": str(spaces[1]),
                "env_steps": steps,
                "reward": _statistics(rollout.rewards),
                "episodes": len(rollout.returns),
                "return": _statistics(np.array(rollout.returns)),
                "length": _statistics(np.array(rollout.lengths, np.float64)),
                "terminated": rollout.terminated,
                "observations": [_statistics(column) for column in rollout.observations.T[:MAX_FEATURES]],
                "steps_per_second": steps / max(rollout.seconds, 1e-9),
            }
        )
    return profiles, rollouts


def _statistics(values: Array) -> dict[str, float] | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    return {
        "mean": float(values.mean()),
        "deviation": float(values.std()),
        "least": float(values.min()),
        "greatest": float(values.max()),
    }
