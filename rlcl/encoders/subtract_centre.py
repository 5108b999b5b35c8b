"""Subtraction of a centre from features, in float64 if float32 would lose digits."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["needs_float64", "subtract_centre"]

MAX_RATIO = 1000.0  # of centre to spread; above it, rounding to float32 causes an error of more than 1e-4 spreads


def needs_float64(centre: Tensor, spread: Tensor) -> Tensor:
    """Return a mask (*shape) of the features whose distance from the centre would lose digits in float32.

    Args:
        centre, spread: (*shape), of each feature.
    """
    return centre.abs() > MAX_RATIO * spread


def subtract_centre(x: Tensor, centre: Tensor, in_float64: Tensor | None) -> Tensor:
    """Compute ``x - centre``, (B, *shape) float32.

    Args:
        x: (B, *shape) of any dtype.
        centre: (*shape) float64.
        in_float64: (*shape) bool, the features that are subtracted in float64; None if there are no such features.
    """
    difference = x.to(torch.float32) - centre.to(device=x.device, dtype=torch.float32)
    if in_float64 is None:
        return difference
    exact = (x.to(torch.float64) - centre.to(x.device)).to(torch.float32)
    return torch.where(in_float64.to(x.device), exact, difference)
