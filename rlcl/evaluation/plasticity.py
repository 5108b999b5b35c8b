"""What tells whether a network can still learn, as functions of activations and weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["dead_units", "dormancy", "dormant", "effective_rank", "weight_magnitude"]


def dormancy(magnitude: Tensor) -> Tensor:
    """Each unit's activity beside that of its layer.

    Args:
        magnitude: (U,) mean over inputs of the magnitude of each unit's activation.

    Returns:
        (U,) scores of mean 1, at least 0; all 0 in a layer that is never active.

    Source: Sokar et al. 2023, The dormant neuron phenomenon in deep reinforcement learning, definition 3.1.
    """
    return magnitude / magnitude.mean().clamp_min(torch.finfo(magnitude.dtype).tiny)


def dormant(h: Tensor, threshold: float) -> float:
    """Share in [0, 1] of units whose score is at most the threshold; h (N, U). Source: as :func:`dormancy`."""
    return float((dormancy(h.abs().mean(0)) <= threshold).float().mean())


def dead_units(h: Tensor) -> float:
    """Share in [0, 1] of units that are 0 on every input; h (N, U). Source: Dohare et al. 2024, figure 4."""
    return float((h == 0).all(0).float().mean())


def effective_rank(h: Tensor) -> float:
    """The exponential of the entropy of the normalised singular values of h (N, U), at least 1; 0 where h is 0.

    Source: Roy & Vetterli 2007, The effective rank, definition 1.
    """
    values = torch.linalg.svdvals(h)
    if not values.any():
        return 0.0
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp())


def weight_magnitude(weights: Iterable[Tensor]) -> float:
    """The mean magnitude of all weights together. Source: Dohare et al. 2024, figure 4."""
    flat = torch.cat([w.flatten() for w in weights])
    return float(flat.abs().mean())
