"""Check of action bounds against the initial normal distribution of a policy."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np

from rlcl.data.environments.contract import shorten

__all__ = ["action_bounds_warning"]

FAR = 50.0  # allowed ratio of half the interval of actions to the standard deviation, and of its inverse


def action_bounds_warning(space: gym.spaces.Box, log_std: float) -> str | None:
    """Return a warning if an initial policy N(0, exp(log_std)^2) hardly covers or rarely hits the action bounds.

    Args:
        space: action space; dimensions without bounds are not checked.
        log_std: initial log standard deviation of the policy; its initial mean is 0.

    Returns:
        The text of the warning for the first such dimension, or None.
    """
    deviation = math.exp(log_std)
    low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    half = (high - low) / 2
    away = np.maximum(np.maximum(low, -high), 0)
    wide, narrow = np.isfinite(half) & (half > FAR * deviation), half * FAR < deviation
    mismatched = wide | narrow | (away > FAR * deviation)
    if not mismatched.any():
        return None
    element = [int(i) for i in np.argwhere(mismatched)[0]]
    at = tuple(element)
    return (
        f"actions lie in [{low[at]:g}, {high[at]:g}] (element {element} of {shorten(space)}), and the initial "
        f"policy is a normal distribution of mean 0 and standard deviation {deviation:g}, which does not match these "
        "bounds; wrap the environment in gymnasium.wrappers.RescaleAction(env, -1, 1) in a function of a Python file, "
        "and set stream.env: file.py:function"
    )
