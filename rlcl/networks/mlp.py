"""Fully connected networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from attrs import frozen
from torch import Tensor, nn

from rlcl.config import option
from rlcl.types import Network

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "CRelu",
    "Initialization",
    "Linear",
    "Mlp",
    "activated",
    "initialize",
    "redrawn",
]

Activation = Literal["relu", "tanh", "gelu", "elu", "leaky_relu", "silu", "crelu"]
Initialization = Literal["torch", "xavier", "kaiming", "orthogonal"]


class CRelu(nn.Module):
    """Concatenates relu(x) and relu(-x) along the units or channels: whatever a unit's sign, a gradient passes.

    Source: Shang et al. 2016; against the loss of plasticity Abbas et al. 2023, Loss of plasticity in
    continual deep reinforcement learning, section 5.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2 * units, ...) of (B, units, ...)."""
        return torch.cat((x, -x), 1).relu()


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "crelu": CRelu,
}

INITIALIZERS: dict[str, Callable[..., Tensor]] = {
    "xavier": nn.init.xavier_uniform_,
    "kaiming": nn.init.kaiming_uniform_,
    "orthogonal": nn.init.orthogonal_,
}


@frozen(kw_only=True)
class Linear(Network):
    """One linear layer."""

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), outputs))


@frozen(kw_only=True)
class Mlp(Network):
    """Fully connected layers with an activation between them.

    Args:
        hidden: units of each hidden layer.
        activation: between the layers; ``crelu`` doubles what the next layer reads.
        layer_norm: whether each hidden layer is normalised before its activation.
        dropout: probability of dropping a hidden unit in training.
        initialization: of the weights; ``torch`` is the default of ``nn.Linear``, the others set
            biases to zero.
    """

    hidden: tuple[int, ...] = option((256, 256), ge=1)
    activation: Activation = option("relu")
    layer_norm: bool = option(False)
    dropout: float = option(0.0, ge=0, lt=1)
    initialization: Initialization = option("torch")

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
            width = activated(units, self.activation)
        layers.append(nn.Linear(width, outputs))
        return initialize(nn.Sequential(*layers), self.initialization)


def activated(units: int, activation: Activation) -> int:
    """The width of a layer of that many units after its activation."""
    return 2 * units if activation == "crelu" else units


def initialize(module: nn.Module, how: Initialization) -> nn.Module:
    """Draws the weights of every linear and convolutional layer; ``torch`` leaves them as they are."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.initialization = how  # type: ignore[assignment]  # for what draws it anew
            if how != "torch":
                INITIALIZERS[how](layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return module


def redrawn(layer: nn.Linear | nn.Conv2d, generator: torch.Generator) -> dict[str, Tensor]:
    """Weight and bias drawn as the layer's were at first: as :func:`initialize` said, or torch's default.

    Args:
        layer: left as it is.
        generator: on the CPU.

    Returns:
        By parameter name, on the CPU.
    """
    how = getattr(layer, "initialization", "torch")
    weight = torch.empty(layer.weight.shape)
    bound = 1 / math.sqrt(weight[0].numel())
    if how == "torch":
        weight.uniform_(-bound, bound, generator=generator)
    else:
        INITIALIZERS[how](weight, generator=generator)
    if layer.bias is None:
        return {"weight": weight}
    bias = torch.zeros(len(weight))
    return {"weight": weight, "bias": bias.uniform_(-bound, bound, generator=generator) if how == "torch" else bias}
