"""Length and end of episodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress

import gymnasium as gym
import numpy as np

from rlcl.data.environments.environment import Environment
from rlcl.data.environments.seed_check import copied, same
from rlcl.doctor.findings import Finding
from rlcl.doctor.recording import Recording
from rlcl.doctor.rollouts import as_action, wrappers_of

__all__ = ["check_autoreset", "check_episodes"]

CHECK = "episodes"


def check_episodes(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Look at the lengths of episodes, and at how they end."""
    episodes, limit = recording.episodes, _time_limit(source)
    if not episodes:
        if limit is not None and limit > recording.steps:
            yield Finding(
                CHECK, "note", f"no episode ended in {recording.steps:,} env steps; the time limit is {limit:,}"
            )
        else:
            yield Finding(
                CHECK,
                "warning",
                f"no episode ended in {recording.steps:,} env steps, and no wrapper TimeLimit is around it",
                "set kwargs: {max_episode_steps: N} (registered ids) or the wrapper TimeLimit; if it has a limit of "
                "its own, examine more --steps",
            )
        return
    lengths = np.array([episode.length for episode in episodes])
    terminated = sum(episode.terminated for episode in episodes)
    shown = (
        f"{len(episodes):,} episodes of {lengths.min():,} to {lengths.max():,} env steps, {terminated:,} terminated, "
        f"{sum(e.truncated for e in episodes):,} truncated"
    )
    both = sum(episode.terminated and episode.truncated for episode in episodes)
    if both:
        yield Finding(
            CHECK,
            "note",
            f"{both:,} episodes were terminated and truncated in the same step",
            "they count as terminated",
        )
    if len(episodes) >= 3 and len(set(lengths)) == 1 and terminated == len(episodes) and lengths[0] > 1:
        yield Finding(
            CHECK,
            "warning",
            f"each of {len(episodes):,} episodes is terminated after exactly {lengths[0]:,} env steps",
            "if this is a time limit, return truncated: with terminated, the value of the last state counts as 0",
        )
    elif lengths.max() <= 1:
        yield Finding(CHECK, "note", f"{shown}: each episode is one decision (a bandit)")
    else:
        yield Finding(CHECK, "ok", shown)


def _time_limit(source: Environment) -> int | None:
    with closing(source.unguarded(checker=False)) as env:
        limits: list[int] = []
        limits += [w._max_episode_steps for w in wrappers_of(env) if isinstance(w, gym.wrappers.TimeLimit)]
    return min(limits, default=None)


def check_autoreset(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Find environments that reset themselves at the end of an episode."""
    if not recording.episodes:
        return
    with closing(source.unguarded(checker=False)) as env:
        if any(type(layer).__name__ == "Autoreset" for layer in wrappers_of(env)):
            yield _resets_itself("the wrapper Autoreset is around it")
            return
    told = sorted(recording.infos & {"terminal_observation", "final_observation", "final_obs"})
    if told:
        yield _resets_itself(f"info has {told[0]}")
        return
    ends = [end for i in range(4) if (end := _ends_in_a_start(source, recording, seed + i)) is not None]
    if len(ends) > 1 and all(ends):
        yield _resets_itself("the observation of the last step is the first one of the next episode")
        return
    with closing(source.unguarded(checker=False)) as env:
        env.reset(seed=seed)
        for action in recording.actions[: recording.episodes[0].length]:
            env.step(as_action(action))
        with suppress(Exception):  # many environments refuse a step after the end, which is what they should do
            after = env.step(as_action(recording.actions[0]))
            if bool(after[2]) or bool(after[3]):
                yield Finding("autoreset", "ok", "after the end of an episode, steps stay ended")
                return
            yield Finding(
                "autoreset",
                "note",
                "a step after the end of an episode is accepted without reset",
                "rlcl resets environments in the step in which an episode ends; in your own loops, call reset",
            )
            return
    yield Finding("autoreset", "ok", "a step after the end of an episode is refused")


def _ends_in_a_start(source: Environment, recording: Recording, seed: int) -> bool | None:
    """Return whether the last observation of the first episode is the one that a second reset returns.

    None if that says nothing: the first two resets are the same, or the episode is one step, or does not end.
    """
    with closing(source.unguarded(checker=False)) as env:
        first, second = copied(env.reset(seed=seed)[0]), copied(env.reset()[0])
    if same(first, second):
        return None
    with closing(source.unguarded(checker=False)) as env:
        env.reset(seed=seed)
        for step, action in enumerate(recording.actions, 1):
            try:
                last, _, terminated, truncated, _ = env.step(as_action(action))
            except Exception:  # the action may not be allowed after another start
                return None
            if terminated or truncated:
                # The one observation of a bandit may be the next start, drawn in advance.
                return same(copied(last), second) if step > 1 else None
    return None


def _resets_itself(reason: str) -> Finding:
    return Finding(
        "autoreset",
        "error",
        f"it resets itself at the end of an episode: {reason}",
        "return the last observation of the episode, and let the caller reset; the last state is needed for values",
    )
