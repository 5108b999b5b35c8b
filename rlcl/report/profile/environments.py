"""The profile of experiences that are environments: what a policy finds that acts at random."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
from attrs import field, frozen

from rlcl.data.environments.action_masks import random_action
from rlcl.evaluation.results import Array
from rlcl.types import EnvironmentSource, Stream

__all__ = ["Played", "play", "profile_environments"]

KEPT = 1024  # numbers of an observation, evenly spread: of an image's all, a thousand steps would fill the memory
FEATURES = 64  # numbers that are told one by one


@frozen(eq=False)
class Played:
    """What a policy has seen that acts at random.

    Args:
        places: (F,) which numbers of a flat observation were kept, at most 1,024; F is 0 where they are no arrays.
        observations: (steps, F) float64.
        rewards: (steps,).
        returns, lengths: of each episode that ended.
        terminated: how many of them ended by termination, not by truncation.
        seconds: that all steps and resets took.
    """

    places: Array
    observations: Array
    rewards: Array
    returns: list[float] = field(factory=list)
    lengths: list[int] = field(factory=list)
    terminated: int = 0
    seconds: float = 0.0


def play(source: EnvironmentSource, steps: int) -> Played:
    """Plays env steps in one environment, actions drawn evenly among those that are allowed, the same ones always."""
    env = source.make()
    space = env.observation_space
    count = int(np.prod(space.shape)) if isinstance(space, gym.spaces.Box) else 0
    places = np.unique(np.linspace(0, count - 1, min(count, KEPT)).astype(np.int64))
    seen, rewards, returns, lengths, terminations = [], [], [], [], 0
    try:
        env.action_space.seed(source.seed)
        begun = time.perf_counter()
        observation, info = env.reset(seed=source.seed)
        start = 0
        for step in range(steps):
            seen.append(np.ravel(observation)[places] if count else np.empty(0))
            action = random_action(env.action_space, info.get("action_mask"))
            observation, reward, terminated, truncated, info = env.step(action)
            rewards.append(float(reward))
            if terminated or truncated:
                returns.append(sum(rewards[start:]))
                lengths.append(step + 1 - start)
                terminations, start = terminations + bool(terminated), step + 1
                observation, info = env.reset()
        seconds = time.perf_counter() - begun
    finally:
        env.close()
    return Played(places, np.array(seen, np.float64), np.array(rewards), returns, lengths, terminations, seconds)


def profile_environments(stream: Stream, steps: int) -> tuple[list[dict[str, Any]], list[Played]]:
    """Of each experience spaces, rewards, episodes and speed; and what was seen, to compare it.

    Args:
        stream: of environments.
        steps: env steps played in each.
    """
    found, every = [], []
    for experience in stream:
        source = experience.environment
        spaces, played = source.spaces(), play(source, steps)
        every.append(played)
        found.append(
            {
                "index": experience.index,
                "name": experience.name,
                "environment": source.name,
                "kwargs": {key: str(value) for key, value in source.kwargs.items()},
                "attributes": {key: str(value) for key, value in source.attributes.items()},
                "observation_space": str(spaces[0]),
                "action_space": str(spaces[1]),
                "env_steps": steps,
                "reward": _moments(played.rewards),
                "episodes": len(played.returns),
                "return": _moments(np.array(played.returns)),
                "length": _moments(np.array(played.lengths, np.float64)),
                "terminated": played.terminated,
                "observations": [_moments(column) for column in played.observations.T[:FEATURES]],
                "steps_per_second": steps / max(played.seconds, 1e-9),
            }
        )
    return found, every


def _moments(values: Array) -> dict[str, float] | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    return {
        "mean": float(values.mean()),
        "deviation": float(values.std()),
        "least": float(values.min()),
        "greatest": float(values.max()),
    }
