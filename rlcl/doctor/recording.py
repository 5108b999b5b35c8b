"""One rollout with random actions, with all that an environment returned, before any wrapper of rlcl."""

from __future__ import annotations

import copy
import time
from typing import Any

import gymnasium as gym
import numpy as np
from attrs import define, field

from rlcl.data.environments.action_masks import current_mask, random_action
from rlcl.data.environments.contract import unpack_reset, unpack_step
from rlcl.data.environments.environment import Environment
from rlcl.data.environments.seed_check import copied, same
from rlcl.errors import Problem

__all__ = ["Episode", "Recording", "flat_numbers", "record"]

AnyEnv = gym.Env[Any, Any]


@define
class Episode:
    """A finished episode.

    Args:
        length: env steps.
        total: undiscounted return.
        terminated, truncated: how it ended.
    """

    length: int
    total: float
    terminated: bool
    truncated: bool


@define(eq=False)
class Recording:
    """What an environment returned in a rollout.

    Args:
        observation_space, action_space: its spaces.
        observations: copies of all observations, those of resets included, in order of time.
        actions: actions taken.
        raw_rewards: rewards as returned.
        rewards: the rewards as numbers.
        masks: masks (K,) of the allowed actions before each step; None where there is none.
        episodes: finished episodes.
        infos: keys of ``info``.
        step_seconds, reset_seconds: durations.
        overwritten: env step in which an observation that was returned before changed; None if none did.
        overwritten_action: env step in which the environment changed the action that it received; None if none did.
        failure: reason why the rollout ended early; "" if it did not.
    """

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    observations: list[Any] = field(factory=list)
    actions: list[Any] = field(factory=list)
    raw_rewards: list[Any] = field(factory=list)
    rewards: list[float] = field(factory=list)
    masks: list[Any] = field(factory=list)
    episodes: list[Episode] = field(factory=list)
    infos: set[str] = field(factory=set)
    step_seconds: list[float] = field(factory=list)
    reset_seconds: list[float] = field(factory=list)
    overwritten: int | None = None
    overwritten_action: int | None = None
    failure: str = ""

    @property
    def steps(self) -> int:
        """Number of env steps."""
        return len(self.rewards)


def record(source: Environment, steps: int, seed: int) -> Recording:
    """Take random allowed actions in a new environment.

    Args:
        source: makes the environment; its wrappers are used.
        steps: number of env steps.
        seed: seed of the environment and of the actions.
    """
    env = source.unguarded(checker=False)
    recording = Recording(env.observation_space, env.action_space)
    env.action_space.seed(seed)
    try:
        _record(env, recording, steps, seed)
    except Problem as problem:
        recording.failure = f"{problem} (at env step {recording.steps:,})"
    except Exception as error:
        recording.failure = f"{type(error).__name__} at env step {recording.steps:,}: {error}"
    finally:
        env.close()
    return recording


def _record(env: AnyEnv, recording: Recording, steps: int, seed: int) -> None:
    has_method = env.has_wrapper_attr("action_masks")
    previous, info = _reset(env, recording, seed)
    length, total = 0, 0.0
    for _ in range(steps):
        mask = current_mask(env, info, has_method)
        action = random_action(env.action_space, mask)
        given = copy.deepcopy(action)
        began = time.perf_counter()
        result = env.step(action)
        recording.step_seconds.append(time.perf_counter() - began)
        observation, reward, terminated, truncated, info = unpack_step(result)
        now = recording.steps + 1
        if recording.overwritten is None and not same(copied(previous), copied(recording.observations[-1])):
            recording.overwritten = now
        if recording.overwritten_action is None and not same(copied(action), copied(given)):
            recording.overwritten_action = now
        recording.masks.append(mask)
        recording.actions.append(given)
        recording.raw_rewards.append(result[1])
        recording.rewards.append(reward)
        recording.observations.append(copy.deepcopy(observation))
        recording.infos |= set(map(str, info))
        length, total, previous = length + 1, total + reward, observation
        if terminated or truncated:
            recording.episodes.append(Episode(length, total, terminated, truncated))
            previous, info = _reset(env, recording, None)
            length, total = 0, 0.0


def _reset(env: AnyEnv, recording: Recording, seed: int | None) -> tuple[Any, dict[str, Any]]:
    began = time.perf_counter()
    result = env.reset(seed=seed)
    recording.reset_seconds.append(time.perf_counter() - began)
    observation, info = unpack_reset(result)
    recording.observations.append(copy.deepcopy(observation))
    recording.infos |= set(map(str, info))
    return observation, info


def flat_numbers(value: Any) -> np.ndarray[Any, Any]:
    """Return all numbers of an observation as one vector of float64."""
    if isinstance(value, dict):
        parts = [flat_numbers(part) for part in value.values()]
    elif isinstance(value, tuple):
        parts = [flat_numbers(part) for part in value]
    elif isinstance(value, np.ndarray | np.generic | int | float) and np.asarray(value).dtype.kind in "fiub":
        return np.asarray(value, np.float64).reshape(-1)
    else:
        return np.empty(0)
    return np.concatenate(parts) if parts else np.empty(0)
