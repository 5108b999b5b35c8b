"""Action values of Q-learning and their targets, as functions of tensors (..., B)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "bootstrapped_targets",
    "chosen_values",
    "chosen_values_gradient",
    "dueling_gradient",
    "dueling_values",
    "next_state_values",
]


def dueling_values(outputs: Tensor) -> Tensor:
    """Compute action values ``V + A - mean A`` (B, K) from outputs (B, 1 + K): the state value V, then advantages A.

    Source: Wang et al. 2016, Dueling network architectures for deep reinforcement learning, eq. 9.
    """
    advantages = outputs[..., 1:]
    return outputs[..., :1] + (advantages - advantages.mean(-1, keepdim=True))


def dueling_gradient(gradient: Tensor) -> Tensor:
    """Backpropagate a gradient (B, K) by :func:`dueling_values` to the outputs (B, 1 + K)."""
    state = gradient.sum(-1, keepdim=True)
    return torch.cat((state, gradient - state / gradient.shape[-1]), -1)


def chosen_values(values: Tensor, actions: Tensor) -> Tensor:
    """Return the values (B,) of actions (B,) int64, from the values (B, K) of all actions."""
    return values.gather(-1, actions[..., None])[..., 0]


def chosen_values_gradient(gradient: Tensor, actions: Tensor, count: int) -> Tensor:
    """Backpropagate a gradient (B,) by :func:`chosen_values` to the values (B, count) of all actions."""
    return gradient.new_zeros((*gradient.shape, count)).scatter_(-1, actions[..., None], gradient[..., None])


def next_state_values(values: Tensor, online: Tensor | None = None) -> Tensor:
    """Compute the values (B,) of the greedy actions in the next states.

    Args:
        values: (B, K) of the target network.
        online: (B, K) of the online network, which chooses the actions in double Q-learning; None if the target network
            chooses them.

    Source: Mnih et al. 2015; van Hasselt et al. 2016, Deep reinforcement learning with double Q-learning, eq. 4.
    """
    return values.amax(-1) if online is None else chosen_values(values, online.argmax(-1))


def bootstrapped_targets(rewards: Tensor, discounts: Tensor, values: Tensor) -> Tensor:
    """Compute targets ``r + discount V`` (B,).

    Args:
        rewards: (B,), summed over n steps.
        discounts: (B,) ``gamma^n``; 0 after termination, not after truncation.
        values: (B,) of the states n steps later.
    """
    return rewards + discounts * values
