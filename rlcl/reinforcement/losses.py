"""Losses of reinforcement learning, as functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["clipped_surrogate", "value_loss"]


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
        return -plain.mean()
    return -torch.min(plain, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """A scalar: the mean squared error of values (B,) of returns (B,)."""
    return (values - returns).square().mean()
