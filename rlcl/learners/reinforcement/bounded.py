"""Continuous actions between bounds, as learners keep them: each number in [-1, 1]."""

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

__all__ = ["LOG_STD", "Bounded", "bounded", "squashed", "squashed_gradient"]

Array = np.ndarray[Any, Any]

LOG_STD = (-20.0, 2.0)  # what a log standard deviation is cut to
LOG_2, HALF_LOG_2_PI = math.log(2), 0.5 * math.log(2 * math.pi)


@frozen(eq=False)
class Bounded:
    """Actions of D numbers.

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
    def numbers(self) -> int:
        """D."""
        return int(self.low.size)

    def random(self, count: int, rng: np.random.Generator) -> Array:
        """(count, D) float32, uniformly in [-1, 1)."""
        return 2 * rng.random((count, self.numbers), dtype=np.float32) - 1

    def for_environment(self, actions: Array) -> Array:
        """(N, *action) of actions (N, D), stretched from [-1, 1] to the bounds."""
        stretched = self._middle + self._half * actions.reshape(-1, *self.low.shape)
        cut: Array = np.clip(stretched, self.low, self.high)  # rounding may lead beyond
        return cut

    def greedy(self, outputs: Tensor) -> Tensor:
        """(B, *action) as the environment takes them, of a network's outputs, the first D of which ``tanh`` bounds."""
        middle, half, low, high = map(torch.from_numpy, (self._middle, self._half, self.low, self.high))
        stretched = middle + half * outputs[:, : self.numbers].tanh().reshape(-1, *self.low.shape)
        return torch.minimum(torch.maximum(stretched, low), high)


def bounded(space: gym.Space[Any], learner: str) -> Bounded:
    """The actions of a space.

    Raises:
        UnsupportedError: it is no box of floats, or one without bounds.
    """
    if not isinstance(space, gym.spaces.Box):
        raise UnsupportedError(
            f"learner {learner} chooses continuous actions (Box), and these are {space}; use dqn or ppo"
        )
    if not np.issubdtype(space.dtype, np.floating):
        raise UnsupportedError(
            f"learner {learner} chooses actions of any number between bounds, and {space} takes whole ones; wrap the "
            "environment in one that rounds (gymnasium.wrappers.TransformAction)"
        )
    if not space.is_bounded("both"):
        raise UnsupportedError(
            f"learner {learner} stretches its actions to the bounds of the space, and {space} has none; use ppo, or "
            "wrap the environment in RescaleAction"
        )
    return Bounded(space.low, space.high)


def squashed(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Actions ``tanh(mean + std noise)``, the logarithms of their densities, and ``std noise``.

    The density of ``a = tanh u`` is that of u over ``1 - a^2``, whose logarithm is
    ``2 (log 2 - u - softplus(-2 u))``: finite where ``1 - a^2`` rounds to 0.

    Args:
        mean, log_std, noise: (B, D), noise drawn from N(0, 1).

    Returns:
        (B, D), (B,) and (B, D).

    Source: Haarnoja et al. 2018, Soft actor-critic, appendix C, eq. 21.
    """
    spread = log_std.exp() * noise
    u = mean + spread
    narrowing = 2 * (LOG_2 - u - F.softplus(-2 * u))
    log_probs = (-0.5 * noise.square() - log_std - HALF_LOG_2_PI - narrowing).sum(1)
    return u.tanh(), log_probs, spread


def squashed_gradient(
    by_actions: Tensor, by_log_prob: Tensor, actions: Tensor, spread: Tensor
) -> tuple[Tensor, Tensor]:
    """A loss's derivatives (B, D) by mean and log standard deviation, from those by what :func:`squashed` gave.

    With ``u = mean + std noise``, the derivative by u of ``a = tanh u`` is ``1 - a^2``, and that of the log-density
    is ``2 a``; by the log standard deviation u changes by ``std noise``, and the log-density by -1 beside.

    Args:
        by_actions: (B, D).
        by_log_prob: (B,) or a scalar, by each log-density.
        actions: (B, D).
        spread: (B, D), ``std noise``.
    """
    by_log_prob = by_log_prob[..., None]
    by_mean = by_actions * (1 - actions.square()) + 2 * by_log_prob * actions
    return by_mean, by_mean * spread - by_log_prob
