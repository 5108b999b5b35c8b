"""Learning from a few labels and many inputs without."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

__all__ = ["HIDDEN", "hidden_labels", "pseudo_label_loss"]

HIDDEN = -1  # the target of an input whose label is not shown


def hidden_labels(y: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """The labels with all but a share of each class hidden, at least one of each class shown.

    Args:
        y: (N,) int64 classes.
        share: of the labels that are shown, in (0, 1].
        rng: decides which.

    Returns:
        (N,) int64, -1 where hidden.
    """
    shown = torch.full_like(y, HIDDEN)
    for label in torch.unique(y).tolist():
        rows = np.flatnonzero(y.numpy() == label)
        kept = torch.from_numpy(rng.permutation(rows)[: max(round(share * len(rows)), 1)])
        shown[kept] = label
    return shown


def pseudo_label_loss(logits: Tensor, guesses: Tensor, confidence: float, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy with the network's own confident guesses, a scalar.

    Args:
        logits: (B, classes) of changed inputs.
        guesses: (B, classes) logits of the same inputs unchanged; no gradient passes.
        confidence: the least probability of a guess that counts, in [0, 1]; the mean is over all inputs.
        weights: (B,) factors of each input's loss in the mean; None for 1.

    Source: Sohn et al. 2020, FixMatch, eq. 4; without augmentation Lee 2013, Pseudo-label.
    """
    certainty, classes = guesses.detach().softmax(1).max(1)
    losses = F.cross_entropy(logits, classes, reduction="none")
    if weights is not None:
        losses = losses * weights
    return (losses * (certainty >= confidence)).sum() / max(len(logits), 1)
