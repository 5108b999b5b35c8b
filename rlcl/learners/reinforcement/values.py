"""What learners of action values learn towards, and how far off they are, as functions of tensors.

Those of one network take minibatches side by side too, (..., B), which know nothing of each other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

__all__ = [
    "bootstrapped",
    "chosen",
    "dueling_gradient",
    "dueling_values",
    "following_values",
    "huber_gradient",
    "huber_loss",
    "spread",
    "twin_gradient",
    "twin_loss",
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


def huber_loss(predicted: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """A scalar: the mean of ``d^2 / 2`` where ``|d| < 1``, of ``|d| - 1/2`` elsewhere, d being the difference.

    Args:
        predicted, wanted: (B,).
        weights: (B,) factors of each term; None for 1.
    """
    found = F.smooth_l1_loss(predicted, wanted, reduction="none")
    return (found if weights is None else found * weights).mean(-1)


def huber_gradient(predicted: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
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


def twin_gradient(predicted: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """(2, B) the derivative of :func:`twin_loss` by each prediction: twice the difference, over B."""
    found = (predicted - wanted).mul_(2 / len(wanted))
    return found if weights is None else found.mul_(weights)
