"""Weights of several learners of one config as one block of memory, on which one computation updates all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.learners.fast.backprop import Affine, Chain, steps_of
from rlcl.learners.fast.forward import ACTIVATIONS, Forward
from rlcl.learners.fast.fused_adam import lay_out
from rlcl.types import OptimizerFactory

__all__ = ["Block", "StepTogether", "stacked"]


class Block:
    """The parameters of S modules of one shape, those of each in a row of (S, W).

    The modules' own parameters become views of it: whoever reads or saves one of them sees what became of it here.

    Args:
        modules: the parameters of each, in the same order.
    """

    def __init__(self, modules: Sequence[Iterable[nn.Parameter]]) -> None:
        self.modules = [list(module) for module in modules]
        first = self.modules[0]
        self.weights = first[0].new_empty((len(modules), sum(p.numel() for p in first)), requires_grad=False)
        self.gradients = torch.zeros_like(self.weights)
        for parameters, row, slope in zip(self.modules, self.weights, self.gradients, strict=True):
            lay_out(parameters, row, slope)
        ends = torch.tensor([p.numel() for p in first]).cumsum(0).tolist()
        self._places = {id(p): (end - p.numel(), end) for p, end in zip(first, ends, strict=True)}

    def of(self, parameter: Tensor) -> Tensor:
        """(S, *shape) of one parameter of the first module, and what became of it in the others; with its gradient."""
        found = self.view(self.weights, parameter)
        found.grad = self.view(self.gradients, parameter)
        return found

    def view(self, block: Tensor, parameter: Tensor) -> Tensor:
        """(S, *shape), the part of a block (S, W) that stands where a parameter of the first module does."""
        start, end = self._places[id(parameter)]
        return block[:, start:end].view(len(block), *parameter.shape)

    def passes(self, module: nn.Module) -> Chain:
        """Those of a chain of linear layers, of the first module, and its likes: from (S, B, *shape) to (S, B, out)."""
        steps = steps_of(module, self._affine, rows=2)
        assert steps is not None, "chains alone are batched"
        return Chain(steps)

    def forward(self, module: nn.Module) -> Forward:
        """The same in NumPy, without gradient: from (S * N, *shape) to (S * N, out)."""
        weights = {
            id(layer): (self.of(layer.weight).mT.cpu().numpy(), self.of(layer.bias)[:, None].cpu().numpy())
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
        weight, bias = self.of(layer.weight), self.of(layer.bias)
        return Affine(weight.mT, bias[:, None], (weight, bias))


class StepTogether:
    """One optimizer for a block, which has what the modules' own had, and gives it back.

    Args:
        factory: of an optimizer that treats each weight alone.
        block: of all parameters of each of ``optimizers``.
        optimizers: one a module; what they keep of their parameters becomes views of what this one keeps.
        clip_norm: the greatest norm of each module's gradient; None for any.
    """

    def __init__(
        self, factory: OptimizerFactory, block: Block, optimizers: Sequence[Optimizer], clip_norm: float | None
    ) -> None:
        self._block, self._optimizers, self._clip_norm = block, optimizers, clip_norm
        self._row = nn.Parameter(block.weights)
        self._row.grad = block.gradients
        self._optimizer = factory.build([self._row])
        self._shared: list[Any] = []
        self._take()

    def step(self) -> None:
        """Steps all of them; what listens for the end of a step of theirs is told of it."""
        if self._clip_norm is not None:
            clip_rows(self._block.gradients, self._clip_norm)
        self._optimizer.param_groups[0]["lr"] = self._optimizers[0].param_groups[0]["lr"]
        self._optimizer.step()
        self._give()
        for optimizer in self._optimizers:
            for hook in optimizer._optimizer_step_post_hooks.values():
                hook(optimizer, (), {})

    def _take(self) -> None:
        states = [
            [optimizer.state.get(p, {}) for p in module]
            for optimizer, module in zip(self._optimizers, self._block.modules, strict=True)
        ]
        for key, value in states[0][0].items():
            if _whole(value):
                self._optimizer.state[self._row][key] = value.clone() if isinstance(value, Tensor) else value
            else:
                rows = [torch.cat([its[key].reshape(-1) for its in state]) for state in states]
                self._optimizer.state[self._row][key] = torch.stack(rows)

    def _give(self) -> None:
        """Lets each module's optimizer have its part of what is kept; nothing to do where it has it."""
        state = self._optimizer.state[self._row]
        if len(state) == len(self._shared) and all(a is b for a, b in zip(state.values(), self._shared, strict=True)):
            return
        self._shared = list(state.values())
        first = self._block.modules[0]
        views = {k: None if _whole(v) else [self._block.view(v, p) for p in first] for k, v in state.items()}
        for s, (optimizer, module) in enumerate(zip(self._optimizers, self._block.modules, strict=True)):
            for i, p in enumerate(module):
                optimizer.state[p] = {k: state[k] if view is None else view[i][s] for k, view in views.items()}


def _whole(value: Any) -> bool:
    """Whether all modules share what an optimizer keeps: a count of steps, or nothing."""
    return not isinstance(value, Tensor) or value.dim() == 0


def clip_rows(gradients: Tensor, norm: float) -> None:
    """Shortens each row (W,) of (S, W) that is longer than a norm, as ``nn.utils.clip_grad_norm_`` does."""
    lengths = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    gradients.mul_((norm / (lengths + 1e-6)).clamp_(max=1.0))


def stacked(trees: Sequence[Any]) -> Any:
    """Trees of one shape as one, with the tensors (...) of all as (S, ...); of anything else the first."""
    first = trees[0]
    if isinstance(first, Tensor):
        return torch.stack(list(trees))
    if isinstance(first, Mapping):
        return {key: stacked([tree[key] for tree in trees]) for key in first}
    if isinstance(first, tuple):  # a named one
        return type(first)(*map(stacked, zip(*trees, strict=True)))
    return first
