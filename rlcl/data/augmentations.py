"""Augmentations of a whole minibatch at once, each image by draws of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from attrs import frozen
from torch import Tensor

from rlcl.config import option

__all__ = ["Crop", "Erase", "Flip", "Noise"]


@frozen(kw_only=True)
class Crop:
    """Pads images with zeros and cuts each back to its size at a random place: a shift.

    Args:
        padding: pixels on every side, so the greatest shift.
    """

    padding: int = option(4, ge=1)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        count, _, height, width = x.shape
        padded = F.pad(x, (self.padding,) * 4)
        shifts = torch.randint(2 * self.padding + 1, (2, count), generator=generator).to(x.device)
        rows = shifts[0][:, None] + torch.arange(height, device=x.device)
        columns = shifts[1][:, None] + torch.arange(width, device=x.device)
        images = torch.arange(count, device=x.device)[:, None, None]
        return padded.movedim(1, 3)[images, rows[:, :, None], columns[:, None, :]].movedim(3, 1).contiguous()


@frozen(kw_only=True)
class Flip:
    """Mirrors images left to right.

    Args:
        probability: of each image.
    """

    probability: float = option(0.5, ge=0, le=1)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        chosen = torch.rand(len(x), generator=generator).to(x.device) < self.probability
        return torch.where(chosen[:, None, None, None], x.flip(3), x)


@frozen(kw_only=True)
class Noise:
    """Adds normal noise to inputs of any shape.

    Args:
        deviation: standard deviation, in the encoder's scale.
    """

    deviation: float = option(0.1, ge=0)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(B, ...) to (B, ...)."""
        return x + self.deviation * torch.randn(x.shape, generator=generator).to(x)


@frozen(kw_only=True)
class Erase:
    """Sets random features to zero, in inputs of any shape.

    Args:
        probability: of each feature.
    """

    probability: float = option(0.1, ge=0, lt=1)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(B, ...) to (B, ...)."""
        return x * (torch.rand(x.shape, generator=generator) >= self.probability).to(x)
