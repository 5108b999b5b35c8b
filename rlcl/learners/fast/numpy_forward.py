"""Forward passes of small networks in NumPy, which take a quarter of torch's time for a few rows of observations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlcl.errors import UnseenTaskError
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.networks.mlp import CRelu
from rlcl.networks.task_ids import takes_task_ids

__all__ = ["NumpyForward", "numpy_forward", "task_forward"]

Array = np.ndarray[Any, Any]
NumpyForward = Callable[[Array], Array]

# They may write into their input, because it is never an array of the caller.
ACTIVATIONS: dict[type[nn.Module], Callable[[Array], Array]] = {
    nn.ReLU: lambda x: np.maximum(x, 0, out=x),
    nn.Tanh: lambda x: np.tanh(x, out=x),
    CRelu: lambda x: np.maximum(np.concatenate((x, -x), 1), 0),
}
SKIPPED = (nn.Flatten, nn.Identity, nn.Dropout)


def task_forward(module: nn.Module, task_id: Callable[[], int | None]) -> NumpyForward:
    """Return the function of :func:`numpy_forward`; a module that takes task ids gets one id for all rows.

    Args:
        module: the module.
        task_id: function that returns the id at the time of a call.
    """
    if not takes_task_ids(module):
        return numpy_forward(module)

    def forward(x: Array) -> Array:
        task = task_id()
        if task is None:
            raise UnseenTaskError("the network selects a head by the task id, which is hidden")
        return _in_torch(module, x, torch.full((len(x),), task))

    return forward


def numpy_forward(module: nn.Module) -> NumpyForward:
    """Return a function from (N, *shape) float32 to the module's outputs (N, K), without gradient and without dropout.

    The function shares memory with the weights, so it stays valid after an update, as long as the parameters of the
    module are not moved in memory. Modules other than chains of supported layers, and all modules on a GPU, are
    computed in torch.
    """
    layers = list(module) if isinstance(module, nn.Sequential) else [module]
    layers = [layer for layer in layers if not isinstance(layer, SKIPPED)]
    steps: list[Callable[[Array], Array]] = [np.copy] if layers and type(layers[0]) in ACTIVATIONS else []
    for layer in layers:
        step = _step(layer)
        if step is None:
            return lambda x: _in_torch(module, x)
        steps.append(step)

    def forward(x: Array) -> Array:
        x = x.reshape(len(x), -1)
        for step in steps:
            x = step(x)
        return x

    return forward


def _step(layer: nn.Module) -> Callable[[Array], Array] | None:
    """Return a layer as a function in NumPy, or None if the layer is not supported."""
    if type(layer) in ACTIVATIONS:
        return ACTIVATIONS[type(layer)]
    if type(layer) is nn.LeakyReLU and 0 < layer.negative_slope <= 1:
        return _leaky_relu(layer.negative_slope)
    if any(p.device.type != "cpu" or p.dtype != torch.float32 for p in layer.parameters()):
        return None
    if type(layer) is nn.Linear:
        return _linear(layer)
    if type(layer) is nn.LayerNorm and len(layer.normalized_shape) == 1 and len(list(layer.parameters())) == 2:
        return _layer_norm(layer)
    return None


def _leaky_relu(slope: float) -> Callable[[Array], Array]:
    factor = np.float32(slope)
    return lambda x: np.maximum(x, factor * x)


def _linear(layer: nn.Linear) -> Callable[[Array], Array]:
    weight, *biases = (p.detach().numpy().T for p in layer.parameters())
    if not biases:
        return lambda x: x @ weight
    (bias,) = biases

    def linear(x: Array) -> Array:
        y: Array = x @ weight
        y += bias
        return y

    return linear


def _layer_norm(layer: nn.LayerNorm) -> Callable[[Array], Array]:
    weight, bias, epsilon = layer.weight.detach().numpy(), layer.bias.detach().numpy(), np.float32(layer.eps)

    def normalized(x: Array) -> Array:
        x = x - x.mean(1, keepdims=True)
        deviation = np.sqrt(np.square(x).mean(1, keepdims=True) + epsilon)
        y: Array = x / deviation * weight + bias
        return y

    return normalized


def _in_torch(module: nn.Module, x: Array, *task_ids: Tensor) -> Array:
    device = next(module.parameters()).device
    with evaluation_mode(module):
        result: Array = module(torch.from_numpy(x).to(device), *(ids.to(device) for ids in task_ids)).cpu().numpy()
    return result
