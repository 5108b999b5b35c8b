"""Weights of several learners with the same config in one block of memory, so that one computation updates all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.learners.fast.backprop import Affine, ChainPasses, steps_of
from rlcl.learners.fast.fused_adam import pack_parameters
from rlcl.learners.fast.numpy_forward import ACTIVATIONS, NumpyForward
from rlcl.types import OptimizerFactory

__all__ = ["BatchedOptimizer", "ParameterBlock", "stack_trees"]


class ParameterBlock:
    """Parameters of S modules of the same shape, as the rows of a tensor (S, W).

    The parameters of the modules become views of the block, so they always have its current values.

    Args:
        modules: parameters of each module, in the same order.
    """

    def __init__(self, modules: Sequence[Iterable[nn.Parameter]]) -> None:
        self.modules = [list(module) for module in modules]
        first = self.modules[0]
        self.weights = first[0].new_empty((len(modules), sum(p.numel() for p in first)), requires_grad=False)
        self.gradients = torch.zeros_like(self.weights)
        for parameters, weights, gradients in zip(self.modules, self.weights, self.gradients, strict=True):
            pack_parameters(parameters, weights, gradients)
        ends = torch.tensor([p.numel() for p in first]).cumsum(0).tolist()
        self._columns = {id(p): (end - p.numel(), end) for p, end in zip(first, ends, strict=True)}

    def stacked_parameter(self, parameter: Tensor) -> Tensor:
        """Return one parameter of all modules as (S, *shape), with its gradient.

        Args:
            parameter: the parameter of the first module.
        """
        stacked = self.view(self.weights, parameter)
        stacked.grad = self.view(self.gradients, parameter)
        return stacked

    def view(self, block: Tensor, parameter: Tensor) -> Tensor:
        """Return the view (S, *shape) of a tensor (S, W), at the columns of a parameter of the first module."""
        start, end = self._columns[id(parameter)]
        return block[:, start:end].view(len(block), *parameter.shape)

    def passes(self, module: nn.Module) -> ChainPasses:
        """Return the passes of a chain of linear layers for all S modules, from (S, B, *shape) to (S, B, out).

        Args:
            module: the chain of the first module.
        """
        steps = steps_of(module, self._affine, rows=2)
        assert steps is not None, "only chains of linear layers can be batched"
        return ChainPasses(steps)

    def forward(self, module: nn.Module) -> NumpyForward:
        """Return the forward pass of a chain in NumPy for all S modules, from (S * N, *shape) to (S * N, out)."""
        weights = {
            id(layer): (
                self.stacked_parameter(layer.weight).mT.cpu().numpy(),
                self.stacked_parameter(layer.bias)[:, None].cpu().numpy(),
            )
            for layer in module.modules()
            if isinstance(layer, nn.Linear)
        }
        layers = list(module) if isinstance(module, nn.Sequential) else [module]
        count = len(self.weights)

        def forward(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            y = x.reshape(count, len(x) // count, -1)
            for layer in layers:
                if id(layer) in weights:
                    weight, bias = weights[id(layer)]
                    y = y @ weight
                    y += bias
                elif type(layer) in ACTIVATIONS:
                    y = ACTIVATIONS[type(layer)](y)
            return y.reshape(len(x), -1)

        return forward

    def _affine(self, layer: nn.Linear) -> Affine:
        weight, bias = self.stacked_parameter(layer.weight), self.stacked_parameter(layer.bias)
        return Affine(weight.mT, bias[:, None], (weight, bias))


class BatchedOptimizer:
    """One optimizer for a parameter block, which shares its state with the optimizers of the modules.

    It starts with the state of the modules' optimizers, whose state becomes views of its own state.

    Args:
        factory: factory of an optimizer that updates each weight independently.
        block: block of all parameters of the ``optimizers``.
        optimizers: optimizer of each module.
        clip_norm: maximum norm of the gradient of each module; None for no clipping.
    """

    def __init__(
        self, factory: OptimizerFactory, block: ParameterBlock, optimizers: Sequence[Optimizer], clip_norm: float | None
    ) -> None:
        self._block, self._optimizers, self._clip_norm = block, optimizers, clip_norm
        self._row = nn.Parameter(block.weights)
        self._row.grad = block.gradients
        self._optimizer = factory.build([self._row])
        self._shared: list[Any] = []
        self._load_states()

    def step(self) -> None:
        """Update all modules, and call the post-step hooks of their optimizers."""
        if self._clip_norm is not None:
            clip_rows(self._block.gradients, self._clip_norm)
        self._optimizer.param_groups[0]["lr"] = self._optimizers[0].param_groups[0]["lr"]
        self._optimizer.step()
        self._share_states()
        for optimizer in self._optimizers:
            for hook in optimizer._optimizer_step_post_hooks.values():
                hook(optimizer, (), {})

    def _load_states(self) -> None:
        """Copy the states of the modules' optimizers into this optimizer."""
        states = [
            [optimizer.state.get(p, {}) for p in module]
            for optimizer, module in zip(self._optimizers, self._block.modules, strict=True)
        ]
        for key, value in states[0][0].items():
            if _is_shared(value):
                self._optimizer.state[self._row][key] = value.clone() if isinstance(value, Tensor) else value
            else:
                rows = [torch.cat([entries[key].reshape(-1) for entries in state]) for state in states]
                self._optimizer.state[self._row][key] = torch.stack(rows)

    def _share_states(self) -> None:
        """Give each module's optimizer views of this optimizer's state, unless it has them already."""
        state = self._optimizer.state[self._row]
        if len(state) == len(self._shared) and all(a is b for a, b in zip(state.values(), self._shared, strict=True)):
            return
        self._shared = list(state.values())
        first = self._block.modules[0]
        views = {k: None if _is_shared(v) else [self._block.view(v, p) for p in first] for k, v in state.items()}
        for s, (optimizer, module) in enumerate(zip(self._optimizers, self._block.modules, strict=True)):
            for i, p in enumerate(module):
                optimizer.state[p] = {k: state[k] if view is None else view[i][s] for k, view in views.items()}


def _is_shared(value: Any) -> bool:
    """Return whether a value of an optimizer's state applies to all modules, such as a step count."""
    return not isinstance(value, Tensor) or value.dim() == 0


def clip_rows(gradients: Tensor, norm: float) -> None:
    """Clip each row (W,) of gradients (S, W) to a maximum norm, in place, like ``nn.utils.clip_grad_norm_``."""
    row_norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    gradients.mul_((norm / (row_norms + 1e-6)).clamp_(max=1.0))


def stack_trees(trees: Sequence[Any]) -> Any:
    """Combine S trees of the same structure: tensors (...) become (S, ...), and other leaves are the first tree's."""
    first = trees[0]
    if isinstance(first, Tensor):
        return torch.stack(list(trees))
    if isinstance(first, Mapping):
        return {key: stack_trees([tree[key] for tree in trees]) for key in first}
    if isinstance(first, tuple):  # a named tuple
        return type(first)(*map(stack_trees, zip(*trees, strict=True)))
    return first
