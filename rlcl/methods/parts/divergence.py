"""Divergence between stored and current outputs of policies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlcl.types import ChoosingHost, Host

__all__ = ["choices_of", "kl_divergence"]


def choices_of(host: Host) -> Sequence[int]:
    """Return the number of logits of each choice of a host; see :class:`rlcl.types.ChoosingHost`."""
    return host.choices if isinstance(host, ChoosingHost) else ()


def kl_divergence(stored: Tensor, current: Tensor, kind: str, choices: Sequence[int] = ()) -> Tensor:
    """Compute the divergences KL(stored || current) (B,) of two policies, differentiable by both.

    Args:
        stored, current: (B, K) outputs for the same inputs.
        kind: ``categorical``, ``multi_categorical`` or ``gaussian``; see :attr:`rlcl.types.Host.kind`.
        choices: number of logits of each choice, for ``multi_categorical``.

    Returns:
        Divergences in nats, summed over choices or over the dimensions of an action.
    """
    if kind == "gaussian":
        (old_mean, old_log_std), (mean, log_std) = stored.chunk(2, -1), current.chunk(2, -1)
        distance = (2 * old_log_std).exp() + (old_mean - mean).square()
        return (log_std - old_log_std + 0.5 * distance * (-2 * log_std).exp() - 0.5).sum(-1)
    sizes = list(choices) if kind == "multi_categorical" else [stored.shape[-1]]
    pairs = zip(torch.split(stored, sizes, -1), torch.split(current, sizes, -1), strict=True)
    return torch.stack([_between_choices(old.log_softmax(-1), new.log_softmax(-1)) for old, new in pairs]).sum(0)


def _between_choices(old: Tensor, new: Tensor) -> Tensor:
    return (old.exp() * (old - new)).sum(-1)
