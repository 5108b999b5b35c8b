"""Frozen copies of networks, such as target networks, and their Polyak average."""

from __future__ import annotations

import copy

from torch import Tensor, nn

__all__ = ["frozen_copy", "polyak_update"]


def frozen_copy(module: nn.Module) -> nn.Module:
    """Return a copy of a module whose parameters require no gradient."""
    return copy.deepcopy(module).requires_grad_(False)


def polyak_update(target: Tensor, source: Tensor, share: float) -> None:
    """Move target weights towards the source by Polyak averaging: ``target + share (source - target)``, in place.

    Args:
        target, source: (..., W) all weights in one tensor; see
            :func:`rlcl.learners.fast.fused_adam.pack_parameters`.
        share: in (0, 1]; 1 copies the weights.

    Source: Lillicrap et al. 2016, Continuous control with deep reinforcement learning, algorithm 1.
    """
    if share == 1:
        target.copy_(source)
    else:
        target.lerp_(source, share)
