"""Two networks of one shape as one module: each layer of both is one multiplication."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlcl.learners.fast.backprop import Affine, Chain, Passes, Recorded, Step, activation

__all__ = ["Apart", "Twins", "twins"]

PLAIN = (nn.ReLU, nn.Tanh, nn.GELU, nn.ELU, nn.LeakyReLU, nn.SiLU, nn.Identity)  # without weights or a state


class Twins(nn.Module):
    """Chains of linear layers and activations, side by side.

    Args:
        networks: of one shape; their weights become the module's.
    """

    def __init__(self, networks: Sequence[nn.Sequential]) -> None:
        super().__init__()
        weights, biases = [], []
        steps: list[nn.Module | None] = []  # None for a linear layer
        for layers in zip(*networks, strict=True):
            first = layers[0]
            if isinstance(first, nn.Linear):
                steps.append(None)
                weights.append(nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers])))
                biases.append(nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers])))
            elif not isinstance(first, nn.Flatten):
                steps.append(first)
        self.weights = nn.ParameterList(weights)  # each (2, in, out)
        self.biases = nn.ParameterList(biases)  # each (2, 1, out)
        self._layers = list(zip(weights, biases, strict=True))
        self._steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """(2, B) of both for inputs (B, in)."""
        layers = iter(self._layers)
        x = x.expand(2, *x.shape)
        for step in self._steps:
            if step is None:
                weight, bias = next(layers)
                x = torch.baddbmm(bias, x, weight)
            else:
                x = step(x)
        return x[:, :, 0]

    def passes(self) -> Passes:
        """Those of :meth:`forward`."""
        steps = self._chain([(weight, bias, (weight, bias)) for weight, bias in self._layers])
        return Recorded(self) if steps is None else Chain([SideBySide(), *steps])

    def passes_of_first(self) -> Passes:
        """Of the first alone, from (B, in) to (B,); its weights are left without a gradient."""
        slices = [(weight.detach()[0], bias.detach()[0, 0]) for weight, bias in self._layers]
        steps = self._chain([(weight, bias, (weight, bias)) for weight, bias in slices])
        return Recorded(_First(self)) if steps is None else Chain(steps)

    def _chain(self, layers: Sequence[tuple[Tensor, Tensor, tuple[Tensor, Tensor]]]) -> list[Step] | None:
        """The steps with these as linear layers, None where an activation is not known."""
        *hidden, last = layers
        left = iter([*(Affine(*layer) for layer in hidden), Valued(*last)])
        steps = [next(left) if step is None else activation(step) for step in self._steps]
        known = [step for step in steps if step is not None]
        return known if len(known) == len(steps) else None


class Apart(nn.Module):
    """Networks of any kind, one after the other."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """(2, B) of both for inputs (B, in)."""
        return torch.stack([network(x)[:, 0] for network in self.networks])

    def passes(self) -> Passes:
        """Those of :meth:`forward`."""
        return Recorded(self)

    def passes_of_first(self) -> Passes:
        """Of the first alone, from (B, in) to (B,)."""
        return Recorded(_First(self))


class _First(nn.Module):
    def __init__(self, both: nn.Module) -> None:
        super().__init__()
        self._both = both

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self._both(x)[0]
        return found


class SideBySide:
    """(B, in) twice, as (2, B, in)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(2, *x.shape)

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        return gradient.sum(0) if inputs else gradient


class Valued(Affine):
    """One number a row, without a dimension of its own; narrow products of many take six times as long in torch."""

    def forward(self, x: Tensor) -> Tensor:
        return (self._weight.mT @ x.mT)[..., 0, :] + self._bias[..., 0]

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        if weights:
            weight, bias = self.gradients()
            torch.matmul(gradient[..., None, :], x, out=weight.mT)
            torch.sum(gradient, -1, keepdim=True, out=bias[..., 0])
        return gradient[..., None] * self._weight.mT if inputs else gradient


def twins(networks: Sequence[nn.Module]) -> Twins | Apart:
    """Two networks from (B, in) to (B, 1) as one module; they keep the weights that they were drawn."""
    chains = [network for network in networks if isinstance(network, nn.Sequential)]
    stackable = len(chains) == len(networks) and all(
        isinstance(layer, (nn.Flatten, *PLAIN)) or (isinstance(layer, nn.Linear) and layer.bias is not None)
        for chain in chains
        for layer in chain
    )
    return Twins(chains) if stackable else Apart(networks)
