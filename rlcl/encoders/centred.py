"""Distances from a centre, exact where the centre is far larger than they are."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["centred", "is_far"]

FAR = 1000.0  # spreads; beyond it, rounding centre and inputs to float32 costs more than 1e-4 of a spread


def is_far(centre: Tensor, spread: Tensor) -> Tensor:
    """(*shape) bool, which features lie so far from 0 that float32 loses digits of their distance from the centre.

    Args:
        centre, spread: (*shape), of each feature.
    """
    return centre.abs() > FAR * spread


def centred(x: Tensor, centre: Tensor, far: Tensor | None) -> Tensor:
    """``x - centre``, (B, *shape) float32.

    Args:
        x: (B, *shape) of any dtype.
        centre: (*shape) float64.
        far: (*shape) bool, the features that are subtracted in float64; None for none.
    """
    near = x.to(torch.float32) - centre.to(device=x.device, dtype=torch.float32)
    if far is None:
        return near
    exact = (x.to(torch.float64) - centre.to(x.device)).to(torch.float32)
    return torch.where(far.to(x.device), exact, near)
