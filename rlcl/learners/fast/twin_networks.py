"""Twin networks: two networks of the same shape as one module, with one matrix multiplication per pair of layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlcl.learners.fast.backprop import Affine, AutogradPasses, ChainPasses, ChainStep, Passes, activation_step
from rlcl.networks.task_ids import takes_task_ids

__all__ = ["SeparateTwins", "StackedTwins", "make_twins"]

STATELESS = (nn.ReLU, nn.Tanh, nn.GELU, nn.ELU, nn.LeakyReLU, nn.SiLU, nn.Identity)  # no weights and no state


class StackedTwins(nn.Module):
    """Two chains of linear layers and activations with stacked weights.

    Args:
        networks: two networks of the same shape, whose weights are copied.
    """

    def __init__(self, networks: Sequence[nn.Sequential]) -> None:
        super().__init__()
        weights, biases = [], []
        steps: list[nn.Module | None] = []  # None stands for a linear layer
        for layers in zip(*networks, strict=True):
            first = layers[0]
            if isinstance(first, nn.Linear):
                steps.append(None)
                weights.append(nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers])))
                biases.append(nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers])))
            elif not isinstance(first, nn.Flatten):
                steps.append(first)
        self.weights = nn.ParameterList(weights)  # (2, in, out) per layer
        self.biases = nn.ParameterList(biases)  # (2, 1, out) per layer
        self._layers = list(zip(weights, biases, strict=True))
        self._steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (2, B) of both networks for inputs (B, in)."""
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
        """Return the passes of :meth:`forward`."""
        steps = self._chain([(weight, bias, (weight, bias)) for weight, bias in self._layers])
        return AutogradPasses(self) if steps is None else ChainPasses([RepeatInput(), *steps])

    def passes_of_first(self) -> Passes:
        """Return the passes of the first network, from (B, in) to (B,). They set no gradients of weights."""
        slices = [(weight.detach()[0], bias.detach()[0, 0]) for weight, bias in self._layers]
        steps = self._chain([(weight, bias, (weight, bias)) for weight, bias in slices])
        return AutogradPasses(_FirstOutput(self)) if steps is None else ChainPasses(steps)

    def _chain(self, layers: Sequence[tuple[Tensor, Tensor, tuple[Tensor, Tensor]]]) -> list[ChainStep] | None:
        """Return the steps of the chain with the given linear layers, or None if an activation is not supported."""
        *hidden, last = layers
        affine_steps = iter([*(Affine(*layer) for layer in hidden), ScalarAffine(*last)])
        steps = [next(affine_steps) if step is None else activation_step(step) for step in self._steps]
        supported = [step for step in steps if step is not None]
        return supported if len(supported) == len(steps) else None


class SeparateTwins(nn.Module):
    """Two networks of any kind that are computed one after the other."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    @property
    def takes_task_ids(self) -> bool:
        """See :func:`rlcl.networks.task_ids.takes_task_ids`."""
        return any(map(takes_task_ids, self.networks))

    def forward(self, x: Tensor, *task_ids: Tensor) -> Tensor:
        """Return the outputs (2, B) of both networks for inputs (B, in)."""
        return torch.stack([network(x, *task_ids)[:, 0] for network in self.networks])

    def passes(self) -> Passes:
        """Return the passes of :meth:`forward`."""
        return AutogradPasses(self)

    def passes_of_first(self) -> Passes:
        """Return the passes of the first network, from (B, in) to (B,)."""
        return AutogradPasses(_FirstOutput(self))


class _FirstOutput(nn.Module):
    """The first output of twin networks."""

    def __init__(self, both: nn.Module) -> None:
        super().__init__()
        self._both = both

    @property
    def takes_task_ids(self) -> bool:
        """See :func:`rlcl.networks.task_ids.takes_task_ids`."""
        return takes_task_ids(self._both)

    def forward(self, x: Tensor, *task_ids: Tensor) -> Tensor:
        first: Tensor = self._both(x, *task_ids)[0]
        return first


class RepeatInput:
    """Step that repeats inputs (B, in) as (2, B, in)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(2, *x.shape)

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        return gradient.sum(0) if inputs else gradient


class ScalarAffine(Affine):
    """Affine step with a single output per row and without an output dimension.

    In torch, a batched product with one output column takes six times as long.
    """

    def forward(self, x: Tensor) -> Tensor:
        return (self._weight.mT @ x.mT)[..., 0, :] + self._bias[..., 0]

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        if weights:
            weight, bias = self.gradients()
            torch.matmul(gradient[..., None, :], x, out=weight.mT)
            torch.sum(gradient, -1, keepdim=True, out=bias[..., 0])
        return gradient[..., None] * self._weight.mT if inputs else gradient


def make_twins(networks: Sequence[nn.Module]) -> StackedTwins | SeparateTwins:
    """Combine two networks from (B, in) to (B, 1) in one module, with their current weights."""
    chains = [network for network in networks if isinstance(network, nn.Sequential)]
    stackable = len(chains) == len(networks) and all(
        isinstance(layer, (nn.Flatten, *STATELESS)) or (isinstance(layer, nn.Linear) and layer.bias is not None)
        for chain in chains
        for layer in chain
    )
    return StackedTwins(chains) if stackable else SeparateTwins(networks)
