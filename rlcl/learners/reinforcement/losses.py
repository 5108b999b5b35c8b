"""Losses of reinforcement learning, each above its own derivative, as pure functions of tensors.

Learners descend the derivatives and report the losses; ``tests/learners/reinforcement/test_losses.py`` holds each pair
together by automatic differentiation. Those of one network take any leading dimensions, (..., B): a scalar is then one
for each minibatch (B,).
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

# Of policies, on-policy.


class PpoLoss(NamedTuple):
    """Scalars: what PPO descends, and the terms of it."""

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
    """What PPO descends: ``clipped_surrogate + value_weight * value_loss - entropy_weight * entropy``.

    Args:
        log_ratio, advantages, clip: of :func:`clipped_surrogate`.
        values, returns: of :func:`value_loss`.
        entropy: mean entropy of the policy, a scalar, nats.
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
    """The derivatives of :func:`ppo_loss` by each log ratio (B,), by each value (B,), and by the mean entropy."""
    by_log_ratio = clipped_surrogate_gradient(log_ratio, advantages, clip)
    by_values = value_loss_gradient(values, returns).mul_(value_weight)
    return by_log_ratio, by_values, -entropy_weight


def clipped_surrogate(log_ratio: Tensor, advantages: Tensor, clip: float | None) -> Tensor:
    """A scalar: minus the mean of ``min(ratio A, clamp(ratio, 1 - clip, 1 + clip) A)``.

    Args:
        log_ratio: (B,) log of the new probability of each action over the old one.
        advantages: (B,).
        clip: None for ``-mean(ratio A)``.

    Source: Schulman et al. 2017, eq. 7.
    """
    ratio = log_ratio.exp()
    plain = ratio * advantages
    if clip is None:
        return -plain.mean(-1)
    return -torch.min(plain, ratio.clamp(1 - clip, 1 + clip) * advantages).mean(-1)


def clipped_surrogate_gradient(log_ratio: Tensor, advantages: Tensor, clip: float | None) -> Tensor:
    """(B,) the derivative of :func:`clipped_surrogate` by each log ratio: ``-ratio A / B``, 0 where the clip holds."""
    plain = log_ratio.exp().mul_(advantages)
    gradient = plain.mul(-1 / plain.shape[-1])
    if clip is None:
        return gradient
    bound = torch.where(advantages > 0, 1 + clip, 1 - clip).mul_(advantages)
    return gradient.mul_(plain <= bound)


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """A scalar: the mean squared error of values (B,) of returns (B,)."""
    return (values - returns).square().mean(-1)


def value_loss_gradient(values: Tensor, returns: Tensor) -> Tensor:
    """(B,) the derivative of :func:`value_loss` by each value: ``2 (V - R) / B``."""
    return (values - returns).mul_(2 / values.shape[-1])


# Of action values.


def huber_loss(predicted: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """A scalar: the mean of ``d^2 / 2`` where ``|d| < 1``, of ``|d| - 1/2`` elsewhere, d being the difference.

    Args:
        predicted, wanted: (B,).
        weights: (B,) factors of each term; None for 1.
    """
    found = F.smooth_l1_loss(predicted, wanted, reduction="none")
    return (found if weights is None else found * weights).mean(-1)


def huber_loss_gradient(predicted: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """(B,) the derivative of :func:`huber_loss` by each prediction: the difference, cut to [-1, 1], over B."""
    cut = (predicted - wanted).clamp_(-1, 1).div_(wanted.shape[-1])
    return cut if weights is None else cut.mul_(weights)


def twin_loss(predicted: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """A scalar: the sum over two critics of their mean squared errors.

    Args:
        predicted: (2, B).
        wanted: (B,), for both.
        weights: (B,) factors of each transition; None for 1.

    Source: Fujimoto et al. 2018, algorithm 1.
    """
    squared = (predicted - wanted).square()
    return (squared if weights is None else squared * weights).sum() / len(wanted)


def twin_loss_gradient(predicted: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """(2, B) the derivative of :func:`twin_loss` by each prediction: twice the difference, over B."""
    found = (predicted - wanted).mul_(2 / len(wanted))
    return found if weights is None else found.mul_(weights)


# Of actors that follow critics.


def soft_policy_loss(log_probs: Tensor, values: Tensor, temperature: Tensor) -> Tensor:
    """A scalar: what SAC's actor descends, the mean of ``temperature * log density - min(Q1, Q2)``.

    Args:
        log_probs: (B,) log-densities of the actor's actions.
        values: (2, B) of those actions, by both critics.
        temperature: a scalar.

    Source: Haarnoja et al. 2018, Soft actor-critic algorithms and applications, eq. 7.
    """
    return (temperature * log_probs - values.amin(0)).mean()


def soft_policy_loss_gradient(values: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives of :func:`soft_policy_loss` by each log-density, a scalar, and by both values, (2, B)."""
    count = values.shape[1]
    return temperature / count, torch.zeros_like(values).scatter_(0, values.min(0).indices[None], -1 / count)


def temperature_loss(log_temperature: Tensor, log_probs: Tensor, wanted_entropy: float) -> Tensor:
    """A scalar: what SAC's temperature descends, ``-log temperature * mean(log density + wanted entropy)``.

    Args:
        log_temperature: a scalar.
        log_probs: (B,) log-densities of the actor's actions, without gradient.
        wanted_entropy: nats.

    Source: Haarnoja et al. 2018, eq. 18, in the logarithm of the temperature as the authors' code has it.
    """
    return -log_temperature * (log_probs.mean() + wanted_entropy)


def temperature_loss_gradient(log_probs: Tensor, wanted_entropy: float) -> Tensor:
    """The derivative of :func:`temperature_loss` by the logarithm of the temperature, a scalar."""
    return -(log_probs.mean() + wanted_entropy)


def deterministic_policy_loss(values: Tensor) -> Tensor:
    """A scalar: what TD3's actor descends, minus the mean of the values (B,) of its actions by the first critic.

    Source: Fujimoto et al. 2018, algorithm 1.
    """
    return -values.mean()


def deterministic_policy_loss_gradient(values: Tensor) -> Tensor:
    """(B,) the derivative of :func:`deterministic_policy_loss` by each value: ``-1 / B``."""
    return torch.full_like(values, -1 / len(values))
