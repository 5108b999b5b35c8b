"""Losses of reinforcement learning, as functions of tensors, and what they are derived to.

Each takes minibatches side by side too, (..., B), which know nothing of each other: a scalar is then one each.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["clipped_surrogate", "clipped_surrogate_gradient", "value_loss", "value_loss_gradient"]


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
