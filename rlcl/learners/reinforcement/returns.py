"""Generalized advantage estimation and explained variance."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["explained_variance", "generalized_advantages"]

Array = np.ndarray[Any, Any]


def generalized_advantages(
    rewards: Array, values: Array, next_values: Array, terminated: Array, ended: Array, gamma: float, gae_lambda: float
) -> Array:
    """Compute generalized advantages (T, N) float32.

    The advantage is the sum over k of ``(gamma * gae_lambda)^k delta_{t+k}`` up to the end of the episode, with
    ``delta_t = r_t + gamma V(s_{t+1}) - V(s_t)``. The value of a terminal state is 0; a truncated episode bootstraps
    from the value of its last state.

    Args:
        rewards: (T, N).
        values: (T, N) of the states before each step.
        next_values: (T, N) of the states after each step; of a finished episode before the reset.
        terminated: (T, N) bool, whether the next state is terminal.
        ended: (T, N) bool, whether the episode is finished, terminated or truncated.
        gamma: discount factor, in [0, 1].
        gae_lambda: in [0, 1]; 0 for one-step advantages, 1 for full returns.

    Source: Schulman et al. 2016, High-dimensional continuous control using generalized advantage
    estimation, eq. 16; truncation: Pardo et al. 2018, Time limits in reinforcement learning, eq. 5.
    """
    deltas = rewards + gamma * next_values * ~terminated - values
    factors = gamma * gae_lambda * ~ended
    advantages = np.empty_like(deltas)
    next_advantage = np.zeros(deltas.shape[1], deltas.dtype)
    for t in range(len(deltas) - 1, -1, -1):
        next_advantage = deltas[t] + factors[t] * next_advantage
        advantages[t] = next_advantage
    return advantages.astype(np.float32, copy=False)


def explained_variance(predicted: Array, actual: Array) -> float:
    """Compute ``1 - var(actual - predicted) / var(actual)``: 1 is perfect; NaN if ``actual`` is constant."""
    variance = float(np.var(actual))
    return float("nan") if variance == 0 else 1 - float(np.var(actual - predicted)) / variance
