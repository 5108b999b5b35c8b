"""Values of actions, and what they are learned towards, as functions of tensors (..., B)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "bootstrapped",
    "chosen",
    "dueling_gradient",
    "dueling_values",
    "following_values",
    "spread",
]


def dueling_values(outputs: Tensor) -> Tensor:
    """(B, K) values ``V + A - mean A`` of outputs (B, 1 + K): a state's value V, then advantages A.

    Source: Wang et al. 2016, Dueling network architectures for deep reinforcement learning, eq. 9.
    """
    advantages = outputs[..., 1:]
    return outputs[..., :1] + (advantages - advantages.mean(-1, keepdim=True))


def dueling_gradient(gradient: Tensor) -> Tensor:
    """(B, 1 + K) the derivative by the outputs, of that by :func:`dueling_values`, (B, K)."""
    state = gradient.sum(-1, keepdim=True)
    return torch.cat((state, gradient - state / gradient.shape[-1]), -1)


def chosen(values: Tensor, actions: Tensor) -> Tensor:
    """(B,) of values (B, K) those of actions (B,) int64."""
    return values.gather(-1, actions[..., None])[..., 0]


def spread(gradient: Tensor, actions: Tensor, count: int) -> Tensor:
    """(B, count) the derivative by all values, of that by the :func:`chosen` ones, (B,)."""
    return gradient.new_zeros((*gradient.shape, count)).scatter_(-1, actions[..., None], gradient[..., None])


def following_values(values: Tensor, online: Tensor | None = None) -> Tensor:
    """(B,) values of the best actions in the states that followed.

    Args:
        values: (B, K) by the target network.
        online: (B, K) by the network that learns, which then chooses the actions; None for those that
            ``values`` themselves hold best.

    Source: Mnih et al. 2015; van Hasselt et al. 2016, Deep reinforcement learning with double Q-learning, eq. 4.
    """
    return values.amax(-1) if online is None else chosen(values, online.argmax(-1))


def bootstrapped(rewards: Tensor, discounts: Tensor, values: Tensor) -> Tensor:
    """(B,) ``r + discount V``.

    Args:
        rewards: (B,), summed over n steps.
        discounts: (B,) ``gamma^n``; 0 after termination, but never after a truncation.
        values: (B,) of the states n steps later.
    """
    return rewards + discounts * values
