"""The scale of rewards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rlcl.data.environments.environment import Environment
from rlcl.doctor.findings import Finding
from rlcl.doctor.recording import Recording

__all__ = ["check_rewards"]

CHECK = "rewards"
LARGE = 100.0


def check_rewards(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Look at the type, the range and the frequency of rewards."""
    rewards = np.array(recording.rewards)
    if not np.isfinite(rewards).all():
        step = int(np.flatnonzero(~np.isfinite(rewards))[0]) + 1
        yield Finding(
            CHECK, "error", f"the reward of env step {step:,} is {rewards[step - 1]}", "return finite rewards"
        )
        return
    other = next((r for r in recording.raw_rewards if not isinstance(r, int | float | np.floating | np.integer)), None)
    if other is not None:
        yield Finding(CHECK, "note", f"rewards are of type {type(other).__name__}", "return float(reward)")
    shown = f"in [{rewards.min():.4g}, {rewards.max():.4g}], mean {rewards.mean():.3g}"
    if not rewards.any():
        yield Finding(
            CHECK,
            "warning",
            f"all {len(rewards):,} rewards of random actions are 0",
            "random exploration finds no reward; shape the reward, shorten the task, or expect long training",
        )
    elif np.abs(rewards).max() > LARGE:
        yield Finding(
            CHECK,
            "warning",
            f"rewards are large: {shown}",
            "scale them in the environment, or add the encoder running_norm with rewards: true",
        )
    elif np.ptp(rewards) == 0 and len({e.length for e in recording.episodes}) <= 1:
        yield Finding(
            CHECK,
            "warning",
            f"every reward is {rewards[0]:g}",
            "a policy changes the return only by the length of episodes",
        )
    else:
        yield Finding(CHECK, "ok", shown)
    if recording.episodes:
        totals = np.array([episode.total for episode in recording.episodes])
        yield Finding(
            "returns",
            "note",
            f"returns of random actions: mean {totals.mean():.4g}, in [{totals.min():.4g}, {totals.max():.4g}]",
        )
