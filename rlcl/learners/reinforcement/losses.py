"""Losses of reinforcement learning and their gradients, as pure functions of tensors.

Learners apply the gradients and log the losses; ``tests/learners/reinforcement/test_losses.py`` compares each gradient
with automatic differentiation. Losses of a single network accept leading dimensions (..., B) and return one scalar for
each minibatch (B,).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

__all__ = [
    "PpoLoss",
    "clipped_surrogate",
    "clipped_surrogate_gradient",
    "deterministic_policy_loss",
    "deterministic_policy_loss_gradient",
    "huber_loss",
    "huber_loss_gradient",
    "ppo_loss",
    "ppo_loss_gradient",
    "soft_policy_loss",
    "soft_policy_loss_gradient",
    "temperature_loss",
    "temperature_loss_gradient",
    "twin_loss",
    "twin_loss_gradient",
    "value_loss",
    "value_loss_gradient",
]

# On-policy losses.


class PpoLoss(NamedTuple):
    """Loss of PPO and its terms, scalars."""

    loss: Tensor
    policy_loss: Tensor
    value_loss: Tensor
    entropy: Tensor


def ppo_loss(
    log_ratio: Tensor,
    advantages: Tensor,
    clip: float | None,
    values: Tensor,
    returns: Tensor,
    entropy: Tensor,
    value_weight: float,
    entropy_weight: float,
) -> PpoLoss:
    """Compute the loss of PPO: ``clipped_surrogate + value_weight * value_loss - entropy_weight * entropy``.

    Args:
        log_ratio, advantages, clip: see :func:`clipped_surrogate`.
        values, returns: see :func:`value_loss`.
        entropy: mean entropy of the policy, a scalar, in nats.
        value_weight, entropy_weight: factors.

    Source: Schulman et al. 2017, Proximal policy optimization algorithms, eq. 9, negated.
    """
    surrogate, squared_error = clipped_surrogate(log_ratio, advantages, clip), value_loss(values, returns)
    return PpoLoss(
        surrogate + value_weight * squared_error - entropy_weight * entropy, surrogate, squared_error, entropy
    )


def ppo_loss_gradient(
    log_ratio: Tensor,
    advantages: Tensor,
    clip: float | None,
    values: Tensor,
    returns: Tensor,
    value_weight: float,
    entropy_weight: float,
) -> tuple[Tensor, Tensor, float]:
    """Compute the derivatives of :func:`ppo_loss` by log ratios (B,), by values (B,), and by the mean entropy."""
    by_log_ratio = clipped_surrogate_gradient(log_ratio, advantages, clip)
    by_values = value_loss_gradient(values, returns).mul_(value_weight)
    return by_log_ratio, by_values, -entropy_weight


def clipped_surrogate(log_ratio: Tensor, advantages: Tensor, clip: float | None) -> Tensor:
    """Compute minus the mean of ``min(ratio A, clamp(ratio, 1 - clip, 1 + clip) A)``, a scalar.

    Args:
        log_ratio: (B,) log of the ratio of the new to the old probability of each action.
        advantages: (B,) A.
        clip: None for ``-mean(ratio A)``.

    Source: Schulman et al. 2017, eq. 7.
    """
    ratio = log_ratio.exp()
    plain = ratio * advantages
    if clip is None:
        return -plain.mean(-1)
    return -torch.min(plain, ratio.clamp(1 - clip, 1 + clip) * advantages).mean(-1)


def clipped_surrogate_gradient(log_ratio: Tensor, advantages: Tensor, clip: float | None) -> Tensor:
    """Compute the derivative (B,) of :func:`clipped_surrogate` by log ratios: ``-ratio A / B``, 0 if clipped."""
    plain = log_ratio.exp().mul_(advantages)
    gradient = plain.mul(-1 / plain.shape[-1])
    if clip is None:
        return gradient
    bound = torch.where(advantages > 0, 1 + clip, 1 - clip).mul_(advantages)
    return gradient.mul_(plain <= bound)


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """Compute the mean squared error between values (B,) and returns (B,), a scalar."""
    return (values - returns).square().mean(-1)


def value_loss_gradient(values: Tensor, returns: Tensor) -> Tensor:
    """Compute the derivative (B,) of :func:`value_loss` by values: ``2 (V - R) / B``."""
    return (values - returns).mul_(2 / values.shape[-1])


# Losses of action values.


def huber_loss(predicted: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Compute the mean of ``d^2 / 2`` if ``|d| < 1``, else ``|d| - 1/2``, with ``d = predicted - targets``; a scalar.

    Args:
        predicted, targets: (B,).
        weights: (B,) weight of each term; None if all weights are 1.
    """
    losses = F.smooth_l1_loss(predicted, targets, reduction="none")
    return (losses if weights is None else losses * weights).mean(-1)


def huber_loss_gradient(predicted: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Compute the derivative (B,) of :func:`huber_loss` by predictions: ``w clamp(d, -1, 1) / B``."""
    gradient = (predicted - targets).clamp_(-1, 1).div_(targets.shape[-1])
    return gradient if weights is None else gradient.mul_(weights)


def twin_loss(predicted: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Compute the sum of the mean squared errors of two critics, a scalar.

    Args:
        predicted: (2, B) values of both critics.
        targets: (B,) common targets.
        weights: (B,) weight of each transition; None if all weights are 1.

    Source: Fujimoto et al. 2018, algorithm 1.
    """
    squared = (predicted - targets).square()
    return (squared if weights is None else squared * weights).sum() / len(targets)


def twin_loss_gradient(predicted: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Compute the derivative (2, B) of :func:`twin_loss` by predictions: ``2 w (predicted - targets) / B``."""
    gradient = (predicted - targets).mul_(2 / len(targets))
    return gradient if weights is None else gradient.mul_(weights)


# Losses of actors that maximize the values of critics.


def soft_policy_loss(log_probs: Tensor, values: Tensor, temperature: Tensor) -> Tensor:
    """Compute the loss of SAC's actor, the mean of ``temperature * log density - min(Q1, Q2)``, a scalar.

    Args:
        log_probs: (B,) log-densities of the actor's actions.
        values: (2, B) values of these actions by both critics.
        temperature: a scalar.

    Source: Haarnoja et al. 2018, Soft actor-critic algorithms and applications, eq. 7.
    """
    return (temperature * log_probs - values.amin(0)).mean()


def soft_policy_loss_gradient(values: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the derivatives of :func:`soft_policy_loss` by each log-density, a scalar, and by values (2, B)."""
    count = values.shape[1]
    return temperature / count, torch.zeros_like(values).scatter_(0, values.min(0).indices[None], -1 / count)


def temperature_loss(log_temperature: Tensor, log_probs: Tensor, target_entropy: float) -> Tensor:
    """Compute the loss of SAC's temperature, ``-log temperature * mean(log density + target entropy)``, a scalar.

    Args:
        log_temperature: a scalar.
        log_probs: (B,) log-densities of the actor's actions, without gradient.
        target_entropy: in nats.

    Source: Haarnoja et al. 2018, eq. 18, with the logarithm of the temperature as in the authors' code.
    """
    return -log_temperature * (log_probs.mean() + target_entropy)


def temperature_loss_gradient(log_probs: Tensor, target_entropy: float) -> Tensor:
    """Compute the derivative of :func:`temperature_loss` by the logarithm of the temperature, a scalar."""
    return -(log_probs.mean() + target_entropy)


def deterministic_policy_loss(values: Tensor) -> Tensor:
    """Compute the loss of TD3's actor, a scalar: minus the mean value (B,) of its actions by the first critic.

    Source: Fujimoto et al. 2018, algorithm 1.
    """
    return -values.mean()


def deterministic_policy_loss_gradient(values: Tensor) -> Tensor:
    """Compute the derivative (B,) of :func:`deterministic_policy_loss` by values: ``-1 / B``."""
    return torch.full_like(values, -1 / len(values))
