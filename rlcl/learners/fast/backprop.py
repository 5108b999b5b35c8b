"""Forward and backward passes of networks, for learners that write the gradient of their loss out.

A learner gives the derivative of its loss by a network's outputs, in closed form, and the network's weights
get theirs. Chains of linear layers, as small policies are, do so by their own formulas: without a recorded
graph, which takes longer than their arithmetic. Any other network is left to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

__all__ = [
    "Affine",
    "Chain",
    "Passes",
    "Passing",
    "Recorded",
    "Step",
    "activation",
    "affine",
    "give_gradient",
    "passes_of",
    "steps_of",
]

NARROW = 16  # inputs of a layer: below, the weight's gradient takes a quarter of the time the other way round (256 x 4)

tanh_backward, threshold_backward = torch.ops.aten.tanh_backward, torch.ops.aten.threshold_backward


class Passes(Protocol):
    """A network that is run forwards, and then backwards."""

    def forward(self, x: Tensor) -> Tensor:
        """Outputs, without a graph; what a backward pass needs is kept until the next call."""
        ...

    def backward(self, gradient: Tensor, weights: bool = True, inputs: bool = False) -> Tensor | None:
        """From the derivative of a loss by the last outputs to that by the weights, which replaces their ``grad``.

        Args:
            gradient: of the outputs' shape.
            weights: whether theirs is wanted.
            inputs: whether that of the inputs is.

        Returns:
            The derivative by the inputs, of their shape, where it is wanted.
        """
        ...


@runtime_checkable
class Passing(Protocol):
    """A module that knows its own passes."""

    def passes(self) -> Passes: ...


class Step(Protocol):
    """A link of a chain; x is what it read, y what it gave."""

    def forward(self, x: Tensor) -> Tensor: ...

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor: ...


class Affine:
    """``x W + b``, or several of them side by side.

    Args:
        weight: (..., in, out), a parameter or a view of one.
        bias: (..., out) or (..., 1, out), the same.
        parameters: that get the gradient, the weight's as (out, in) where it is a view of that.
    """

    def __init__(self, weight: Tensor, bias: Tensor, parameters: tuple[Tensor, Tensor]) -> None:
        self._weight, self._bias = weight.detach(), bias.detach()
        self._parameters = parameters
        self._turned = parameters[0].shape != weight.shape or parameters[0].stride() != weight.stride()
        self._multiplied = torch.addmm if weight.dim() == 2 else torch.baddbmm

    def forward(self, x: Tensor) -> Tensor:
        return self._multiplied(self._bias, x, self._weight)

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        if weights:
            weight, bias = self.gradients()
            if self._turned and x.shape[-1] < NARROW:
                weight.copy_((x.mT @ gradient).mT)
            elif self._turned:
                torch.matmul(gradient.mT, x, out=weight)
            else:
                torch.matmul(x.mT, gradient, out=weight)
            torch.sum(gradient, -2, keepdim=bias.dim() == gradient.dim(), out=bias)
        return gradient @ self._weight.mT if inputs else gradient

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Where those of the parameters are written."""
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
        weight, bias = (parameter.grad for parameter in self._parameters)
        return weight, bias  # type: ignore[return-value]


class Flat:
    """(..., B, *shape) as (..., B, in).

    Args:
        rows: dimensions up to B.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self._rows)

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        return gradient.view(x.shape) if inputs else gradient


class Tanh:
    """NumPy's is the faster one on a CPU: a sixth of torch's time for 256 x 64 numbers."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return x.tanh_()
        array = x.numpy()
        np.tanh(array, out=array)
        return x

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        found: Tensor = tanh_backward(gradient, y)
        return found


class Relu:
    """Where it gave 0, nothing goes back."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu_()

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        found: Tensor = threshold_backward(gradient, y, 0)
        return found


# They write into what the linear layer before them gave.
ACTIVATIONS: dict[type[nn.Module], Step] = {nn.Tanh: Tanh(), nn.ReLU: Relu()}


class Chain:
    """Steps of which each reads what the one before it gave."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)
        self._first = next(i for i, step in enumerate(self._steps) if isinstance(step, Affine))
        self._kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            kept = [x]
            for step in self._steps:
                x = step.forward(x)
                kept.append(x)
        self._kept = kept
        return x

    def backward(self, gradient: Tensor, weights: bool = True, inputs: bool = False) -> Tensor | None:
        kept, first = self._kept, self._first
        with torch.no_grad():
            for i in range(len(self._steps) - 1, -1, -1):
                gradient = self._steps[i].backward(gradient, kept[i], kept[i + 1], weights, inputs or i > first)
        return gradient if inputs else None


class Recorded:
    """Any module, with torch's own record of what was done.

    Args:
        module: from (B, ...) to outputs.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._parameters = list(module.parameters())
        self._x = self._y = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        self._x = x.detach().requires_grad_(x.is_floating_point())
        with torch.enable_grad():
            self._y = self._module(self._x)
        return self._y.detach()

    def backward(self, gradient: Tensor, weights: bool = True, inputs: bool = False) -> Tensor | None:
        wanted: list[Tensor] = [*(self._parameters if weights else ()), *((self._x,) if inputs else ())]
        found = torch.autograd.grad(self._y, wanted, gradient, allow_unused=True)
        if weights:
            for parameter, its in zip(self._parameters, found, strict=False):
                give_gradient(parameter, its)
        return found[-1] if inputs else None


def give_gradient(parameter: Tensor, gradient: Tensor | None) -> None:
    """Replaces a parameter's gradient, in place where it has one."""
    if parameter.grad is None or gradient is None:
        parameter.grad = gradient
    else:
        parameter.grad.copy_(gradient)


def affine(layer: nn.Linear) -> Affine:
    """The step that a layer with a bias is."""
    return Affine(layer.weight.T, layer.bias, (layer.weight, layer.bias))


def activation(layer: nn.Module) -> Step | None:
    """The step that an activation is, None where it is not known."""
    return ACTIVATIONS.get(type(layer))


def passes_of(module: nn.Module) -> Passes:
    """The passes of a module, from (B, ...) to its outputs.

    A module may know its own (:class:`Passing`). One on which somebody listens, by a hook, is run as it is, and so
    are all but chains of linear layers with ``relu`` or ``tanh`` between them.
    """
    if isinstance(module, Passing):
        return module.passes()
    steps = steps_of(module)
    return Recorded(module) if steps is None else Chain(steps)


def steps_of(module: nn.Module, linear: Callable[[nn.Linear], Affine] = affine, rows: int = 1) -> Sequence[Step] | None:
    """The steps of a chain of linear layers with known activations between them; None for any other module.

    Args:
        module: on which nobody listens.
        linear: the step that a linear layer with a bias is.
        rows: dimensions of what it reads up to those of one observation.
    """
    layers = list(module) if isinstance(module, nn.Sequential) else [module]
    steps = [_step(layer, linear, rows) for layer in layers if type(layer) is not nn.Identity]
    known = [step for step in steps if step is not None]
    first = next((step for step in known if not isinstance(step, Flat)), None)
    heard = any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    # An activation writes where it reads.
    return None if heard or len(known) < len(steps) or not isinstance(first, Affine) else known


def _step(layer: nn.Module, linear: Callable[[nn.Linear], Affine], rows: int) -> Step | None:
    if type(layer) is nn.Flatten:
        return Flat(rows)
    if type(layer) is nn.Linear and layer.bias is not None:
        return linear(layer)
    return activation(layer)
