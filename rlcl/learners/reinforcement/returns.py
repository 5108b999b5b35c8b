"""Advantages and returns, as functions of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["explained_variance", "generalized_advantages"]

Array = np.ndarray[Any, Any]


def generalized_advantages(
    rewards: Array, values: Array, next_values: Array, terminated: Array, ended: Array, gamma: float, gae_lambda: float
) -> Array:
    """How much better each action was than the value of its state, (T, N) float32.

    The sum over k of ``(gamma * gae_lambda)^k delta_{t+k}`` up to the episode's end, with
    ``delta_t = r_t + gamma V(s_{t+1}) - V(s_t)``, V being 0 where the episode terminated. One that was
    only cut off (truncated) goes on in V.

    Args:
        rewards: (T, N).
        values: (T, N) of the states acted in.
        next_values: (T, N) of the states that followed, the last one of an episode before its reset.
        terminated: (T, N) bool, whether that state is terminal.
        ended: (T, N) bool, whether an episode ended there, terminated or truncated.
        gamma: discount, in [0, 1].
        gae_lambda: in [0, 1]; 0 is one step, 1 the whole return.

    Source: Schulman et al. 2016, High-dimensional continuous control using generalized advantage
    estimation, eq. 16; truncation: Pardo et al. 2018, Time limits in reinforcement learning, eq. 5.
    """
    deltas = rewards + gamma * next_values * ~terminated - values
    factors = gamma * gae_lambda * ~ended
    advantages = np.empty_like(deltas)
    following = np.zeros(deltas.shape[1], deltas.dtype)
    for t in range(len(deltas) - 1, -1, -1):
        following = deltas[t] + factors[t] * following
        advantages[t] = following
    return advantages.astype(np.float32, copy=False)


def explained_variance(predicted: Array, actual: Array) -> float:
    """1 - var(actual - predicted) / var(actual): 1 is perfect, 0 a constant's; NaN where nothing varies."""
    variance = float(np.var(actual))
    return float("nan") if variance == 0 else 1 - float(np.var(actual - predicted)) / variance
