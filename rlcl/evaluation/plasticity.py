"""What tells whether a network can still learn, as functions of activations and weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

__all__ = ["dead_units", "dormancy", "dormant", "effective_rank", "gradient_norm", "stable_rank", "weight_magnitude"]


def dormancy(magnitude: Tensor) -> Tensor:
    """Each unit's activity beside that of its layer.

    Args:
        magnitude: (U,) mean over inputs of the magnitude of each unit's activation.

    Returns:
        (U,) scores of mean 1, at least 0; all 0 in a layer that is never active.

    Source: Sokar et al. 2023, The dormant neuron phenomenon in deep reinforcement learning, definition 3.1.
    """
    return magnitude / magnitude.mean().clamp_min(torch.finfo(magnitude.dtype).tiny)


def dormant(magnitudes: Sequence[Tensor], threshold: float) -> float:
    """Share in [0, 1], of the units of all layers together, whose score is at most the threshold.

    Args:
        magnitudes: (U,) of each layer, as :func:`dormancy` takes them; at least one.
        threshold: at least 0 (tau).

    Source: Sokar et al. 2023, section 3, who count over the whole network.
    """
    return float((torch.cat([dormancy(m) for m in magnitudes]) <= threshold).float().mean())


def dead_units(magnitudes: Sequence[Tensor]) -> float:
    """Share in [0, 1], of the units of all layers together, that are 0 on every input.

    Args:
        magnitudes: (U,) of each layer, mean over inputs of the magnitude of each unit's activation.

    Source: Dohare et al. 2024, Loss of plasticity in deep continual learning, figure 4.
    """
    return float((torch.cat(list(magnitudes)) == 0).float().mean())


def effective_rank(h: Tensor) -> float:
    """The exponential of the entropy of the normalised singular values of h (N, U), at least 1; 0 where h is 0.

    Source: Roy & Vetterli 2007, The effective rank, definition 1.
    """
    values = torch.linalg.svdvals(h)
    if not values.any():
        return 0.0
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp())


def stable_rank(h: Tensor, share: float = 0.99) -> float:
    """How many singular values of h (N, U), the largest first, add up to a share of their sum; 0 where h is 0.

    ``min {k : sum_{i<=k} sigma_i / sum_i sigma_i >= share}``, which is at most the smaller of N and U.

    Dohare et al. call this the stable rank, and Kumar et al. srank. Rudelson & Vershynin 2007, whose word it is,
    mean another number by it: the squared Frobenius norm over the squared greatest singular value.

    Source: Kumar et al. 2021, Implicit under-parameterization inhibits data-efficient deep reinforcement learning,
    section 3 (delta = 1 - share); Dohare et al. 2024, Loss of plasticity in deep continual learning.
    """
    sums = torch.linalg.svdvals(h.double()).cumsum(0)
    if not sums.any():
        return 0.0
    # By the last sum, for another way to add them up may round to a little more than all of them.
    return float((sums / sums[-1] < share).sum() + 1)


def weight_magnitude(weights: Iterable[Tensor]) -> float:
    """The mean magnitude of all weights together. Source: Dohare et al. 2024, figure 4."""
    flat = torch.cat([w.flatten() for w in weights])
    return float(flat.abs().mean())


def gradient_norm(gradients: Sequence[Tensor]) -> float:
    """The Euclidean norm of all gradients together.

    Source: Abbas et al. 2023, Loss of plasticity in continual deep reinforcement learning, who see it collapse.
    """
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients)))))
