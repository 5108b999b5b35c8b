"""A small convolutional network for images."""

from __future__ import annotations

import torch
from attrs import frozen
from torch import nn

from rlcl.config import option
from rlcl.networks.check_images import check_images
from rlcl.networks.mlp import ACTIVATIONS, Activation, Initialization, activated_width, initialize
from rlcl.types import Network

__all__ = ["Cnn"]


@frozen(kw_only=True)
class Cnn(Network):
    """3 x 3 convolutions, each followed by an activation and 2 x 2 max pooling if the image is large enough.

    Args:
        channels: output channels of each convolution.
        hidden: units of each fully connected layer after the convolutions.
        activation: after each layer; ``crelu`` doubles the inputs of the next layer.
        layer_norm: whether each layer is normalized before its activation; convolutions over channels and positions.
        dropout: probability of dropping a unit of a fully connected layer in training.
        initialization: initialization of the weights; see :class:`rlcl.networks.mlp.Mlp`.
    """

    channels: tuple[int, ...] = option((32, 64), ge=1)
    hidden: tuple[int, ...] = option((128,), ge=1)
    activation: Activation = option("relu")
    layer_norm: bool = option(False)
    dropout: float = option(0.0, ge=0, lt=1)
    initialization: Initialization = option("torch")

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        check_images("cnn", shape)
        layers: list[nn.Module] = []
        channels, side = shape[0], min(shape[1:])
        for width in self.channels:
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            if self.layer_norm:
                layers.append(nn.GroupNorm(1, width))
            layers.append(ACTIVATIONS[self.activation]())
            channels = activated_width(width, self.activation)
            if side >= 4:
                layers.append(nn.MaxPool2d(2))
                side //= 2
        layers.append(nn.Flatten())
        features = nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1]
        for units in self.hidden:
            layers.append(nn.Linear(features, units))
            if self.layer_norm:
                layers.append(nn.LayerNorm(units))
            layers.append(ACTIVATIONS[self.activation]())
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            features = activated_width(units, self.activation)
        layers.append(nn.Linear(features, outputs))
        return initialize(nn.Sequential(*layers), self.initialization)
