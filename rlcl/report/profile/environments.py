"""The profile of experiences that are environments: what a policy finds that acts at random."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
from attrs import field, frozen

from rlcl.data.sources import Environment
from rlcl.evaluation.results import Array
from rlcl.streams.stream import Stream

__all__ = ["Played", "play", "profile_environments"]


@frozen(eq=False)
class Played:
    """What a policy has seen that acts at random.

    Args:
        observations: (steps, F) float64; F is 0 where they are no arrays.
        rewards: (steps,).
        returns, lengths: of each episode that ended.
        terminated: how many of them ended by termination, not by truncation.
        seconds: that all steps and resets took.
    """

    observations: Array
    rewards: Array
    returns: list[float] = field(factory=list)
    lengths: list[int] = field(factory=list)
    terminated: int = 0
    seconds: float = 0.0


def play(source: Environment, steps: int) -> Played:
    """Plays env steps in one environment, actions drawn evenly among those that are allowed, the same ones always."""
    env = source.make()
    masked = env.has_wrapper_attr("action_masks") and isinstance(env.action_space, gym.spaces.Discrete)
    boxes = isinstance(env.observation_space, gym.spaces.Box)
    seen, rewards, returns, lengths, terminations = [], [], [], [], 0
    try:
        env.action_space.seed(source.seed)
        begun = time.perf_counter()
        observation, _ = env.reset(seed=source.seed)
        start = 0
        for step in range(steps):
            mask = np.asarray(env.get_wrapper_attr("action_masks")(), np.int8) if masked else None
            seen.append(np.ravel(observation) if boxes else np.empty(0))
            observation, reward, terminated, truncated, _ = env.step(env.action_space.sample(mask))
            rewards.append(float(reward))
            if terminated or truncated:
                returns.append(sum(rewards[start:]))
                lengths.append(step + 1 - start)
                terminations, start = terminations + bool(terminated), step + 1
                observation, _ = env.reset()
        seconds = time.perf_counter() - begun
    finally:
        env.close()
    return Played(np.array(seen, np.float64), np.array(rewards), returns, lengths, terminations, seconds)


def profile_environments(stream: Stream, steps: int) -> tuple[list[dict[str, Any]], list[Array]]:
    """Of each experience spaces, rewards, episodes and speed; and the observations, to compare them.

    Args:
        stream: of environments.
        steps: env steps played in each.
    """
    found, observations = [], []
    for experience in stream:
        source = experience.train
        assert isinstance(source, Environment)
        spaces, played = source.spaces(), play(source, steps)
        observations.append(played.observations)
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
                "observations": [_moments(column) for column in played.observations.T],
                "steps_per_second": steps / max(played.seconds, 1e-9),
            }
        )
    return found, observations


def _moments(values: Array) -> dict[str, float] | None:
    if not len(values):
        return None
    return {
        "mean": float(values.mean()),
        "deviation": float(values.std()),
        "least": float(values.min()),
        "greatest": float(values.max()),
    }
