"""Forward and backward passes of networks, for learners that compute the gradient of their loss in closed form.

A learner computes the derivative of its loss with respect to a network's outputs, and the backward pass computes the
gradients of the network's weights. Chains of linear layers, such as small policies, have hand-written passes without
an autograd graph, because building the graph takes longer than the arithmetic. Other networks use torch's autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from rlcl.networks.task_ids import takes_task_ids
from rlcl.seeding import reproducible_backward

__all__ = [
    "Affine",
    "AutogradPasses",
    "ChainPasses",
    "ChainStep",
    "HasPasses",
    "Passes",
    "activation_step",
    "affine_step",
    "passes_of",
    "set_gradient",
    "steps_of",
]

# Layers with fewer inputs compute the transpose of the weight's gradient, which takes a quarter of the time (256 x 4).
NARROW = 16

tanh_backward, threshold_backward = torch.ops.aten.tanh_backward, torch.ops.aten.threshold_backward
leaky_relu_backward = torch.ops.aten.leaky_relu_backward


class Passes(Protocol):
    """Protocol of a network's forward and backward passes."""

    def forward(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """Return outputs without a graph, and store the tensors for the backward pass until the next call.

        Args:
            x: (B, ...).
            task_ids: (B,) int64, for networks that take task ids; None if they are hidden.
        """
        ...

    def backward(self, gradient: Tensor, weights: bool = True, inputs: bool = False) -> Tensor | None:
        """Backpropagate the derivative of a loss with respect to the last outputs.

        The derivative with respect to the weights replaces their ``grad``.

        Args:
            gradient: derivative with respect to the outputs, with their shape.
            weights: whether to compute the derivative with respect to the weights.
            inputs: whether to compute the derivative with respect to the inputs.

        Returns:
            The derivative with respect to the inputs, with their shape, or None if it is not computed.
        """
        ...


@runtime_checkable
class HasPasses(Protocol):
    """Protocol of a module that defines its own passes."""

    def passes(self) -> Passes: ...


class ChainStep(Protocol):
    """Protocol of one step of a chain of layers."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the step."""
        ...

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        """Backpropagate a gradient through the step, for its last input x and output y."""
        ...


class Affine:
    """The affine map ``x W + b``, or a batch of affine maps.

    Args:
        weight: (..., in, out) parameter, or a view of a parameter.
        bias: (..., out) or (..., 1, out) parameter, or a view of a parameter.
        parameters: parameters that get the gradients; the weight may be (out, in), with ``weight`` as its transpose.
    """

    def __init__(self, weight: Tensor, bias: Tensor, parameters: tuple[Tensor, Tensor]) -> None:
        self._weight, self._bias = weight.detach(), bias.detach()
        self._parameters = parameters
        self._transposed = parameters[0].shape != weight.shape or parameters[0].stride() != weight.stride()
        self._multiply_add = torch.addmm if weight.dim() == 2 else torch.baddbmm

    def forward(self, x: Tensor) -> Tensor:
        return self._multiply_add(self._bias, x, self._weight)

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        if weights:
            weight, bias = self.gradients()
            if self._transposed and x.shape[-1] < NARROW:
                weight.copy_((x.mT @ gradient).mT)
            elif self._transposed:
                torch.matmul(gradient.mT, x, out=weight)
            else:
                torch.matmul(x.mT, gradient, out=weight)
            torch.sum(gradient, -2, keepdim=bias.dim() == gradient.dim(), out=bias)
        return gradient @ self._weight.mT if inputs else gradient

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Return the gradient tensors of the parameters, allocated if necessary."""
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
        weight, bias = (parameter.grad for parameter in self._parameters)
        return weight, bias  # type: ignore[return-value]


class Flatten:
    """Step that flattens (..., B, *shape) to (..., B, in).

    Args:
        rows: number of dimensions up to and including B.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self._rows)

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        return gradient.view(x.shape) if inputs else gradient


class Tanh:
    """Tanh step, computed in NumPy on a CPU, which takes a sixth of torch's time for 256 x 64 elements."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return x.tanh_()
        array = x.numpy()
        np.tanh(array, out=array)
        return x

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        input_gradient: Tensor = tanh_backward(gradient, y)
        return input_gradient


class Relu:
    """ReLU step."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu_()

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        input_gradient: Tensor = threshold_backward(gradient, y, 0)
        return input_gradient


class LeakyRelu:
    """Leaky ReLU step.

    Args:
        slope: factor of negative inputs, above 0.
    """

    def __init__(self, slope: float) -> None:
        self._slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu_(x, self._slope)

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor, weights: bool, inputs: bool) -> Tensor:
        input_gradient: Tensor = leaky_relu_backward(gradient, y, self._slope, self_is_result=True)
        return input_gradient


# Activations write into their input, which is the output of a linear layer.
ACTIVATIONS: dict[type[nn.Module], ChainStep] = {nn.Tanh: Tanh(), nn.ReLU: Relu()}


class ChainPasses:
    """Passes of a chain of steps, each of which gets the output of the previous step."""

    def __init__(self, steps: Sequence[ChainStep]) -> None:
        self._steps = tuple(steps)
        self._first = next(i for i, step in enumerate(self._steps) if isinstance(step, Affine))
        self._activations: list[Tensor] = []  # the input and the output of every step

    def forward(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            activations = [x]
            for step in self._steps:
                x = step.forward(x)
                activations.append(x)
        self._activations = activations
        return x

    def backward(self, gradient: Tensor, weights: bool = True, inputs: bool = False) -> Tensor | None:
        xs, first = self._activations, self._first
        with torch.no_grad():
            for i in range(len(self._steps) - 1, -1, -1):
                gradient = self._steps[i].backward(gradient, xs[i], xs[i + 1], weights, inputs or i > first)
        return gradient if inputs else None


class AutogradPasses:
    """Passes of any module, with torch's autograd.

    Args:
        module: module from (B, ...) to outputs.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._parameters = list(module.parameters())
        self._takes_task_ids = takes_task_ids(module)
        self._x = self._y = torch.empty(0)

    def forward(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        self._x = x.detach().requires_grad_(x.is_floating_point())
        with torch.enable_grad():
            self._y = self._module(self._x, task_ids) if self._takes_task_ids else self._module(self._x)
        return self._y.detach()

    def backward(self, gradient: Tensor, weights: bool = True, inputs: bool = False) -> Tensor | None:
        targets: list[Tensor] = [*(self._parameters if weights else ()), *((self._x,) if inputs else ())]
        with reproducible_backward(len(self._x)):
            gradients = torch.autograd.grad(self._y, targets, gradient, allow_unused=True)
        if weights:
            for parameter, parameter_gradient in zip(self._parameters, gradients, strict=False):
                set_gradient(parameter, parameter_gradient)
        return gradients[-1] if inputs else None


def set_gradient(parameter: Tensor, gradient: Tensor | None) -> None:
    """Replace the gradient of a parameter, in place if it has one."""
    if parameter.grad is None or gradient is None:
        parameter.grad = gradient
    else:
        parameter.grad.copy_(gradient)


def affine_step(layer: nn.Linear) -> Affine:
    """Return the step of a linear layer with a bias."""
    return Affine(layer.weight.T, layer.bias, (layer.weight, layer.bias))


def activation_step(layer: nn.Module) -> ChainStep | None:
    """Return the step of an activation, or None if the activation is not supported."""
    if type(layer) is nn.LeakyReLU and layer.negative_slope > 0:  # the sign of an output is that of its input
        return LeakyRelu(layer.negative_slope)
    return ACTIVATIONS.get(type(layer))


def passes_of(module: nn.Module) -> Passes:
    """Return the passes of a module, from (B, ...) to its outputs.

    A module can define its own passes (:class:`HasPasses`). Chains of linear layers with ``relu``, ``leaky_relu`` or
    ``tanh`` between them have hand-written passes, unless forward hooks are registered. Other modules use autograd.
    """
    if isinstance(module, HasPasses):
        return module.passes()
    steps = None if takes_task_ids(module) else steps_of(module)
    return AutogradPasses(module) if steps is None else ChainPasses(steps)


def steps_of(
    module: nn.Module, linear: Callable[[nn.Linear], Affine] = affine_step, rows: int = 1
) -> Sequence[ChainStep] | None:
    """Return the steps of a chain of linear layers with supported activations, or None for any other module.

    Args:
        module: the module; with forward hooks, the result is None.
        linear: function that returns the step of a linear layer with a bias.
        rows: number of leading dimensions of the input, before those of one observation.
    """
    layers = list(module) if isinstance(module, nn.Sequential) else [module]
    steps = [_step(layer, linear, rows) for layer in layers if type(layer) is not nn.Identity]
    supported = [step for step in steps if step is not None]
    first = next((step for step in supported if not isinstance(step, Flatten)), None)
    has_hooks = any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    # The first step must not be an activation, because it would write into the caller's input.
    return None if has_hooks or len(supported) < len(steps) or not isinstance(first, Affine) else supported


def _step(layer: nn.Module, linear: Callable[[nn.Linear], Affine], rows: int) -> ChainStep | None:
    """Return the step of a layer, or None if the layer is not supported."""
    if type(layer) is nn.Flatten:
        return Flatten(rows)
    if type(layer) is nn.Linear and layer.bias is not None:
        return linear(layer)
    return activation_step(layer)
