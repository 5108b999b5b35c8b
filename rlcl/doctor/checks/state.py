"""Whether the state of an environment can be saved, restored and copied."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import gymnasium as gym

from rlcl.data.environments.environment import Environment
from rlcl.data.environments.seed_check import copied, same
from rlcl.data.environments.state import restore_single, single_state
from rlcl.doctor.findings import Finding
from rlcl.doctor.recording import Recording
from rlcl.doctor.rollouts import as_action
from rlcl.errors import short_error
from rlcl.state import clone_state

__all__ = ["check_copy", "check_state"]

STEPS = 20  # taken before the state is saved, and again afterwards


def check_state(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Save the state in the middle of an episode, and continue from it in a new environment."""
    with closing(source.unguarded(checker=False)) as env, closing(source.unguarded(checker=False)) as other:
        steps = _advance(env, recording.actions, seed)
        state = clone_state(single_state(env))
        if state is None:
            yield Finding(
                "saved state",
                "note",
                "its state cannot be saved: an interrupted run restarts the episodes in progress",
                "add the methods state_dict() and load_state_dict(state) to the environment and to its own wrappers",
            )
            return
        other.reset(seed=seed + 1)
        restore_single(other, state)
        if _continuations_differ(env, other, recording.actions[steps:]):
            yield Finding(
                "saved state",
                "error",
                "an environment that continues from a saved state does something else: a resumed run would differ",
                "state_dict() must contain all that the next steps depend on, the random generator included",
            )
            return
    yield Finding("saved state", "ok", "it continues from a saved state as without interruption")


def check_copy(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Copy an environment in the middle of an episode, as planning does."""
    with closing(source.unguarded(checker=False)) as env:
        steps = _advance(env, recording.actions, seed)
        try:
            differ = _continuations_differ(env, copy.deepcopy(env), recording.actions[steps:])
        except Exception as error:
            reason = short_error(error)
            yield Finding("copy", "note", f"copies (copy.deepcopy) do not work ({reason})", "only planning needs them")
            return
        if differ:
            yield Finding(
                "copy",
                "note",
                "a copy (copy.deepcopy) shares state with the original",
                "only planning needs copies; define __deepcopy__ for it",
            )
            return
    yield Finding("copy", "ok", "copies are independent of each other")


def _advance(env: gym.Env[Any, Any], actions: Sequence[Any], seed: int) -> int:
    """Take the first steps after a reset; return how many, so that the episode is not at its end."""
    env.reset(seed=seed)
    taken = 0
    for action in actions[:STEPS]:
        _, _, terminated, truncated, _ = env.step(as_action(action))
        taken += 1
        if terminated or truncated:
            env.reset()
    return taken


def _continuations_differ(one: gym.Env[Any, Any], other: gym.Env[Any, Any], actions: Sequence[Any]) -> bool:
    """Take the same steps in two environments, first all in one, and then all in the other."""
    return not all(same(a, b) for a, b in zip(_steps(one, actions), _steps(other, actions), strict=True))


def _steps(env: gym.Env[Any, Any], actions: Sequence[Any]) -> list[Any]:
    results = []
    for action in actions[:STEPS]:
        observation, reward, terminated, truncated, _ = env.step(as_action(action))
        results.append((copied(observation), float(reward), bool(terminated), bool(truncated)))
        if terminated or truncated:
            break
    return results
