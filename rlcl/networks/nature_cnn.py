"""Convolutional network of deep Q-learning."""

from __future__ import annotations

from typing import Literal

import torch
from attrs import frozen
from torch import Tensor, nn

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.networks.mlp import Initialization, initialize
from rlcl.types import Network

__all__ = ["NatureCnn"]

MIN_SIDE = 36  # minimum height and width in pixels for the three convolutions
CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # channels, kernel, stride


class ChannelsLastToFirst(nn.Module):
    """Permutation of images (B, height, width, channels) to (B, channels, height, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(-1, 1)


@frozen(kw_only=True)
class NatureCnn(Network):
    """Three convolutions (32 of 8 x 8 at stride 4, 64 of 4 x 4 at 2, 64 of 3 x 3 at 1) and a layer of 512 units.

    Its inputs should have a magnitude of about 1. For 8-bit images, use the encoder ``scale``, which divides by 255.

    Args:
        channels: position of the channels in the images: ``first`` as in torch, or ``last`` as in Gymnasium's images.
        hidden: units of the fully connected layer.
        initialization: initialization of the weights; see :class:`rlcl.networks.mlp.Mlp`.

    Source: Mnih et al. 2015, Human-level control through deep reinforcement learning, methods.
    """

    channels: Literal["first", "last"] = option("first")
    hidden: int = option(512, ge=1)
    initialization: Initialization = option("orthogonal")

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        last = self.channels == "last"
        sides = shape[:-1] if last else shape[1:]
        if len(shape) != 3 or min(sides) < MIN_SIDE:
            order = "(height, width, channels)" if last else "(channels, height, width)"
            raise UnsupportedError(
                f"network nature_cnn needs inputs of shape {order} of at least {MIN_SIDE} x {MIN_SIDE} pixels, got "
                f"{shape}; set channels: {'first' if last else 'last'} if they are there, add the encoder "
                "channels_first, or use cnn"
            )
        layers: list[nn.Module] = [ChannelsLastToFirst()] if last else []
        channels = shape[-1] if last else shape[0]
        for width, kernel, stride in CONVOLUTIONS:
            layers += [nn.Conv2d(channels, width, kernel, stride), nn.ReLU()]
            channels = width
        layers.append(nn.Flatten())
        features = nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1]
        layers += [nn.Linear(features, self.hidden), nn.ReLU(), nn.Linear(self.hidden, outputs)]
        return initialize(nn.Sequential(*layers), self.initialization)
