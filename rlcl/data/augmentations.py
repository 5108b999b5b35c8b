"""Augmentations of minibatches, with separate random numbers for each image."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from attrs import frozen
from torch import Tensor

from rlcl.config import option

__all__ = ["Crop", "Erase", "Flip", "Noise"]


@frozen(kw_only=True)
class Crop:
    """Random crop of zero-padded images, which shifts each image.

    Args:
        padding: pixels on every side, which is also the maximum shift.
    """

    padding: int = option(4, ge=1)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Crop images (B, C, H, W) to (B, C, H, W)."""
        count, _, height, width = x.shape
        padded = F.pad(x, (self.padding,) * 4)
        shifts = torch.randint(2 * self.padding + 1, (2, count), generator=generator).to(x.device)
        rows = shifts[0][:, None] + torch.arange(height, device=x.device)
        columns = shifts[1][:, None] + torch.arange(width, device=x.device)
        images = torch.arange(count, device=x.device)[:, None, None]
        return padded.movedim(1, 3)[images, rows[:, :, None], columns[:, None, :]].movedim(3, 1).contiguous()


@frozen(kw_only=True)
class Flip:
    """Random horizontal flip of images.

    Args:
        probability: probability that an image is flipped.
    """

    probability: float = option(0.5, ge=0, le=1)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Flip images (B, C, H, W) to (B, C, H, W)."""
        flipped = torch.rand(len(x), generator=generator).to(x.device) < self.probability
        return torch.where(flipped[:, None, None, None], x.flip(3), x)


@frozen(kw_only=True)
class Noise:
    """Additive Gaussian noise, for inputs of any shape.

    Args:
        deviation: standard deviation, in units of the encoded inputs.
    """

    deviation: float = option(0.1, ge=0)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Add noise to inputs (B, ...)."""
        return x + self.deviation * torch.randn(x.shape, generator=generator).to(x)


@frozen(kw_only=True)
class Erase:
    """Random erasing of features, which sets them to zero, for inputs of any shape.

    Args:
        probability: probability that a feature is erased.
    """

    probability: float = option(0.1, ge=0, lt=1)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Erase features of inputs (B, ...)."""
        return x * (torch.rand(x.shape, generator=generator) >= self.probability).to(x)
