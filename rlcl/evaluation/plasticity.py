"""Plasticity measures of a network, as functions of activations, weights and gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

__all__ = [
    "dead_units",
    "dormancy",
    "dormant_units",
    "effective_rank",
    "gradient_norm",
    "stable_rank",
    "weight_magnitude",
]


def dormancy(magnitude: Tensor) -> Tensor:
    """Return the activity of each unit, divided by the mean activity of its layer.

    Args:
        magnitude: (U,) mean over inputs of the magnitude of each unit's activation.

    Returns:
        (U,) scores with mean 1, at least 0; all 0 in a layer that is never active.

    Source: Sokar et al. 2023, The dormant neuron phenomenon in deep reinforcement learning, definition 3.1.
    """
    return magnitude / magnitude.mean().clamp_min(torch.finfo(magnitude.dtype).tiny)


def dormant_units(magnitudes: Sequence[Tensor], threshold: float) -> float:
    """Return the proportion of units, over all layers, whose score is at most a threshold; in [0, 1].

    Args:
        magnitudes: (U,) of each layer, as for :func:`dormancy`; at least one layer.
        threshold: maximum score of a dormant unit (tau), at least 0.

    Source: Sokar et al. 2023, section 3, with the proportion over the whole network.
    """
    return float((torch.cat([dormancy(m) for m in magnitudes]) <= threshold).float().mean())


def dead_units(magnitudes: Sequence[Tensor]) -> float:
    """Return the proportion of units, over all layers, that are 0 on every input; in [0, 1].

    Args:
        magnitudes: (U,) of each layer, mean over inputs of the magnitude of each unit's activation.

    Source: Dohare et al. 2024, Loss of plasticity in deep continual learning, figure 4.
    """
    return float((torch.cat(list(magnitudes)) == 0).float().mean())


def effective_rank(h: Tensor) -> float:
    """Return the exponential of the entropy of the normalized singular values of h (N, U), at least 1; 0 if h is 0.

    Source: Roy & Vetterli 2007, The effective rank, definition 1.
    """
    values = torch.linalg.svdvals(h)
    if not values.any():
        return 0.0
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp())


def stable_rank(h: Tensor, share: float = 0.99) -> float:
    """Return the minimum number of singular values of h (N, U) whose sum is a fraction of the sum of all; 0 if h is 0.

    ``min {k : sum_{i<=k} sigma_i / sum_i sigma_i >= share}``, which is at most the smaller of N and U.

    Dohare et al. call this number the stable rank, Kumar et al. call it srank. The stable rank of Rudelson & Vershynin
    2007, who introduced the term, is a different number: the squared Frobenius norm divided by the squared maximum
    singular value.

    Source: Kumar et al. 2021, Implicit under-parameterization inhibits data-efficient deep reinforcement learning,
    section 3 (delta = 1 - share); Dohare et al. 2024, Loss of plasticity in deep continual learning.
    """
    sums = torch.linalg.svdvals(h.double()).cumsum(0)
    if not sums.any():
        return 0.0
    # Divided by the last cumulative sum, because another order of summation may round to a slightly larger total.
    return float((sums / sums[-1] < share).sum() + 1)


def weight_magnitude(weights: Iterable[Tensor]) -> float:
    """Return the mean magnitude of all weights. Source: Dohare et al. 2024, figure 4."""
    flat = torch.cat([w.flatten() for w in weights])
    return float(flat.abs().mean())


def gradient_norm(gradients: Sequence[Tensor]) -> float:
    """Return the Euclidean norm of all gradients together.

    Source: Abbas et al. 2023, Loss of plasticity in continual deep reinforcement learning, where it collapses.
    """
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients)))))
