"""Continuous actions between bounds, stored by learners in [-1, 1], and the squashed normal distribution over them."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from attrs import field, frozen
from torch import Tensor

from rlcl.errors import UnsupportedError

__all__ = ["LOG_STD", "BoundedActions", "bounded_actions", "squashed_gaussian", "squashed_gaussian_gradient"]

Array = np.ndarray[Any, Any]

LOG_STD = (-20.0, 2.0)  # bounds of log standard deviations
LOG_2, HALF_LOG_2_PI = math.log(2), 0.5 * math.log(2 * math.pi)


@frozen(eq=False)
class BoundedActions:
    """Conversion between actions (D,) in [-1, 1] and the environment's action space.

    Args:
        low, high: (*action) finite bounds of the environment's actions.
    """

    low: Array
    high: Array
    _middle: Array = field(init=False)
    _half: Array = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_middle", (self.low + self.high) / 2)
        object.__setattr__(self, "_half", (self.high - self.low) / 2)

    @property
    def dims(self) -> int:
        """Number D of dimensions of an action."""
        return int(self.low.size)

    def random(self, count: int, rng: np.random.Generator) -> Array:
        """Return actions (count, D) float32, sampled uniformly in [-1, 1)."""
        return 2 * rng.random((count, self.dims), dtype=np.float32) - 1

    def for_environment(self, actions: Array) -> Array:
        """Scale actions (N, D) from [-1, 1] to the bounds; returns (N, *action)."""
        scaled = self._middle + self._half * actions.reshape(-1, *self.low.shape)
        clipped: Array = np.clip(scaled, self.low, self.high)  # scaling may exceed the bounds by rounding
        return clipped

    def greedy(self, outputs: Tensor) -> Tensor:
        """Return ``tanh`` of the first D of outputs (B, K), scaled to the environment's actions (B, *action)."""
        middle, half, low, high = map(torch.from_numpy, (self._middle, self._half, self.low, self.high))
        scaled = middle + half * outputs[:, : self.dims].tanh().reshape(-1, *self.low.shape)
        return torch.minimum(torch.maximum(scaled, low), high)


def bounded_actions(space: gym.Space[Any], learner: str) -> BoundedActions:
    """Return the conversion for an action space.

    Args:
        space: of the environment.
        learner: name of the learner, for messages.

    Raises:
        UnsupportedError: the space is not a Box of floats with finite bounds.
    """
    if not isinstance(space, gym.spaces.Box):
        raise UnsupportedError(f"learner {learner} needs a continuous action space (Box), got {space}; use dqn or ppo")
    if not np.issubdtype(space.dtype, np.floating):
        raise UnsupportedError(
            f"learner {learner} needs a Box of floats as action space, got integers: {space}; wrap the environment in "
            "one that rounds actions (gymnasium.wrappers.TransformAction)"
        )
    if not space.is_bounded("both"):
        raise UnsupportedError(
            f"learner {learner} needs an action space with finite bounds, got {space}; use ppo, or wrap the "
            "environment in gymnasium.wrappers.RescaleAction"
        )
    return BoundedActions(space.low, space.high)


def squashed_gaussian(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute actions ``tanh(mean + std noise)``, their log-densities and ``std noise``.

    The density of ``a = tanh u`` is the density of u divided by ``1 - a^2``. The logarithm of ``1 - a^2`` is
    computed as ``2 (log 2 - u - softplus(-2 u))``, which is finite even if ``1 - a^2`` rounds to 0.

    Args:
        mean, log_std, noise: (B, D); the noise is sampled from N(0, 1).

    Returns:
        Actions (B, D), log-densities (B,) and ``std noise`` (B, D).

    Source: Haarnoja et al. 2018, Soft actor-critic, appendix C, eq. 21.
    """
    scaled_noise = log_std.exp() * noise
    u = mean + scaled_noise
    log_slope = 2 * (LOG_2 - u - F.softplus(-2 * u))
    log_probs = (-0.5 * noise.square() - log_std - HALF_LOG_2_PI - log_slope).sum(1)
    return u.tanh(), log_probs, scaled_noise


def squashed_gaussian_gradient(
    by_actions: Tensor, by_log_prob: Tensor, actions: Tensor, scaled_noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Backpropagate a loss through :func:`squashed_gaussian` to mean and log standard deviation.

    With ``u = mean + std noise``, the derivative of ``a = tanh u`` by u is ``1 - a^2``, and that of the log-density is
    ``2 a``. The derivative of u by the log standard deviation is ``std noise``, and the log-density has an additional
    direct derivative of -1.

    Args:
        by_actions: (B, D) derivative of the loss by the actions.
        by_log_prob: (B,) or a scalar, derivative of the loss by each log-density.
        actions: (B, D) from :func:`squashed_gaussian`.
        scaled_noise: (B, D) ``std noise`` from :func:`squashed_gaussian`.

    Returns:
        Derivatives (B, D) by the mean and (B, D) by the log standard deviation.
    """
    by_log_prob = by_log_prob[..., None]
    by_mean = by_actions * (1 - actions.square()) + 2 * by_log_prob * actions
    return by_mean, by_mean * scaled_noise - by_log_prob
