"""Fully connected networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from attrs import frozen
from torch import Tensor, nn

from rlcl.config import option

__all__ = ["ACTIVATIONS", "Activation", "Initialization", "Linear", "Mlp", "initialize"]

Activation = Literal["relu", "tanh", "gelu", "elu", "leaky_relu", "silu"]
Initialization = Literal["torch", "xavier", "kaiming", "orthogonal"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
}

INITIALIZERS: dict[str, Callable[[Tensor], Tensor]] = {
    "xavier": nn.init.xavier_uniform_,
    "kaiming": nn.init.kaiming_uniform_,
    "orthogonal": nn.init.orthogonal_,
}


@frozen(kw_only=True)
class Linear:
    """One linear layer."""

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), outputs))


@frozen(kw_only=True)
class Mlp:
    """Fully connected layers with an activation between them.

    Args:
        hidden: units of each hidden layer.
        activation: between the layers.
        layer_norm: whether each hidden layer is normalised before its activation.
        dropout: probability of dropping a hidden unit in training.
        initialization: of the weights; ``torch`` is the default of ``nn.Linear``, the others set
            biases to zero.
    """

    hidden: tuple[int, ...] = option((256, 256), ge=1, help="units of each hidden layer")
    activation: Activation = option("relu", help="between the layers")
    layer_norm: bool = option(False, help="normalise each hidden layer before its activation")
    dropout: float = option(0.0, ge=0, lt=1, help="probability of dropping a hidden unit in training")
    initialization: Initialization = option("torch", help="of the weights")

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(shape)
        for units in self.hidden:
            layers.append(nn.Linear(width, units))
            if self.layer_norm:
                layers.append(nn.LayerNorm(units))
            layers.append(ACTIVATIONS[self.activation]())
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = units
        layers.append(nn.Linear(width, outputs))
        return initialize(nn.Sequential(*layers), self.initialization)


def initialize(module: nn.Module, how: Initialization) -> nn.Module:
    """Draws the weights of every linear and convolutional layer; ``torch`` leaves them as they are."""
    if how == "torch":
        return module
    draw = INITIALIZERS[how]
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            draw(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module
