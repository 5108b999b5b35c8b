"""Whether a normal distribution around 0 reaches the actions of a box."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np

from rlcl.data.environments.contract import shortened

__all__ = ["out_of_reach"]

FAR = 50.0  # standard deviations; between them and their inverse an interval of actions is found by exploring


def out_of_reach(space: gym.spaces.Box, log_std: float) -> str | None:
    """What is wrong with bounds that such a policy hardly fills, always leaves, or never meets; None for nothing.

    Args:
        space: of actions; where it has no bounds nothing is wrong.
        log_std: the policy's initial log standard deviation; its initial mean is 0.
    """
    deviation = math.exp(log_std)
    low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    half = (high - low) / 2
    away = np.maximum(np.maximum(low, -high), 0)
    wide, narrow = np.isfinite(half) & (half > FAR * deviation), half * FAR < deviation
    wrong = wide | narrow | (away > FAR * deviation)
    if not wrong.any():
        return None
    place = [int(i) for i in np.argwhere(wrong)[0]]
    at = tuple(place)
    return (
        f"actions lie in [{low[at]:g}, {high[at]:g}] (element {place} of {shortened(space)}), and the policy begins "
        f"with a normal distribution of mean 0 and standard deviation {deviation:g}, which is far from filling that; "
        "wrap the environment in gymnasium.wrappers.RescaleAction(env, -1, 1), in a function of your own, and set "
        "stream.env: file.py:function"
    )
