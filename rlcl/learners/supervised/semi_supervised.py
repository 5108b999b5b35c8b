"""Semi-supervised learning: hidden labels and the pseudo-label loss."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

__all__ = ["HIDDEN", "hide_labels", "pseudo_label_loss"]

HIDDEN = -1  # target of an input whose label is hidden


def hide_labels(y: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Hide all labels except for a fraction of each class, at least one label per class.

    Args:
        y: (N,) int64 classes.
        share: fraction of the labels that stay visible, in (0, 1].
        rng: random generator that selects them.

    Returns:
        (N,) int64, -1 for hidden labels.
    """
    labels = torch.full_like(y, HIDDEN)
    for label in torch.unique(y).tolist():
        rows = np.flatnonzero(y.numpy() == label)
        visible_rows = torch.from_numpy(rng.permutation(rows)[: max(round(share * len(rows)), 1)])
        labels[visible_rows] = label
    return labels


def pseudo_label_loss(logits: Tensor, guesses: Tensor, confidence: float, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy with confident pseudo-labels, a scalar.

    Args:
        logits: (B, classes) logits of augmented inputs.
        guesses: (B, classes) logits of the same inputs without augmentation, treated as constants.
        confidence: minimum probability of a pseudo-label that is used, in [0, 1]; the mean is over all inputs.
        weights: (B,) weight of the loss of each input; None if all weights are 1.

    Source: Sohn et al. 2020, FixMatch, eq. 4; without augmentation Lee 2013, Pseudo-label.
    """
    certainty, classes = guesses.detach().softmax(1).max(1)
    losses = F.cross_entropy(logits, classes, reduction="none")
    if weights is not None:
        losses = losses * weights
    return (losses * (certainty >= confidence)).sum() / max(len(logits), 1)
