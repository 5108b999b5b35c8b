"""Fully connected networks, their activations and initializations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from attrs import frozen
from torch import Tensor, nn

from rlcl.config import option
from rlcl.errors import Problem
from rlcl.types import Network

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "CRelu",
    "Initialization",
    "Linear",
    "Mlp",
    "activated_width",
    "fresh_weights",
    "initialize",
]

Activation = Literal["relu", "tanh", "gelu", "elu", "leaky_relu", "silu", "crelu"]
Initialization = Literal["torch", "xavier", "kaiming", "orthogonal"]


class CRelu(nn.Module):
    """Concatenated ReLU: relu(x) and relu(-x) along the units or channels. Its gradient is non-zero for either sign.

    Source: Shang et al. 2016; as a remedy for the loss of plasticity Abbas et al. 2023, Loss of plasticity in
    continual deep reinforcement learning, section 5.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, units, ...) to (B, 2 * units, ...)."""
        return torch.cat((x, -x), 1).relu()


LEAKY_SLOPE = 0.01  # torch's default

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
        activation: between the layers; ``crelu`` doubles the inputs of the next layer.
        layer_norm: whether each hidden layer is normalized before its activation.
        dropout: probability of dropping a hidden unit in training.
        negative_slope: factor of negative inputs of ``leaky_relu``; other activations do not use it.
        initialization: initialization of the weights: ``torch`` is the default of ``nn.Linear``; the others set
            biases to zero.
    """

    hidden: tuple[int, ...] = option((256, 256), ge=1)
    activation: Activation = option("relu")
    layer_norm: bool = option(False)
    dropout: float = option(0.0, ge=0, lt=1)
    negative_slope: float = option(LEAKY_SLOPE, gt=0, le=1)
    initialization: Initialization = option("torch")

    def __attrs_post_init__(self) -> None:
        if self.negative_slope != LEAKY_SLOPE and self.activation != "leaky_relu":
            raise Problem(f"activation {self.activation} has no negative slope; remove it", "negative_slope")

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(shape)
        for units in self.hidden:
            layers.append(nn.Linear(width, units))
            if self.layer_norm:
                layers.append(nn.LayerNorm(units))
            leaky = self.activation == "leaky_relu"
            layers.append(nn.LeakyReLU(self.negative_slope) if leaky else ACTIVATIONS[self.activation]())
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = activated_width(units, self.activation)
        layers.append(nn.Linear(width, outputs))
        return initialize(nn.Sequential(*layers), self.initialization)


def activated_width(units: int, activation: Activation) -> int:
    """Return the output width of a layer with a number of units after its activation."""
    return 2 * units if activation == "crelu" else units


def initialize(module: nn.Module, initialization: Initialization) -> nn.Module:
    """Initialize the weights of all linear and convolutional layers in place; ``torch`` does not change them.

    Returns:
        The module.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.initialization = initialization  # type: ignore[assignment]  # for fresh_weights
            if initialization != "torch":
                INITIALIZERS[initialization](layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return module


def fresh_weights(layer: nn.Linear | nn.Conv2d, generator: torch.Generator) -> dict[str, Tensor]:
    """Sample a weight and a bias from the initial distribution of a layer, see :func:`initialize`.

    Args:
        layer: not changed.
        generator: on the CPU.

    Returns:
        Tensors by parameter name, on the CPU.
    """
    initialization = getattr(layer, "initialization", "torch")
    weight = torch.empty(layer.weight.shape)
    bound = 1 / math.sqrt(weight[0].numel())
    if initialization == "torch":
        weight.uniform_(-bound, bound, generator=generator)
    else:
        INITIALIZERS[initialization](weight, generator=generator)
    if layer.bias is None:
        return {"weight": weight}
    bias = torch.zeros(len(weight))
    if initialization == "torch":
        bias.uniform_(-bound, bound, generator=generator)
    return {"weight": weight, "bias": bias}
