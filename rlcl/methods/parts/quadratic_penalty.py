"""Quadratic penalty on the distance of the weights to an anchor, as in EWC, MAS, SI, RWalk and L2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["Anchor"]


@define(eq=False)
class Anchor:
    """Pre-step hook that adds ``curvature * (theta - anchor)`` to the gradients of one optimizer.

    Each step takes a few fused operations over all parameters.

    Args:
        curvature: by parameter name, the second derivative of the penalty with respect to each weight.
        anchor: by parameter name, the minimum of the penalty.
    """

    curvature: dict[str, Tensor] = field(factory=dict)
    anchor: dict[str, Tensor] = field(factory=dict)
    _lists: tuple[list[nn.Parameter], list[Tensor], list[Tensor]] = field(init=False, factory=lambda: ([], [], []))

    def bind(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Bind the names to the current parameters; ignore parameters that are new or have changed their shape."""
        names = [n for n, p in parameters.items() if n in self.curvature and self.curvature[n].shape == p.shape]
        self._lists = (
            [parameters[n] for n in names],
            [self.curvature[n].to(parameters[n].device) for n in names],
            [self.anchor[n].to(parameters[n].device) for n in names],
        )

    @torch.no_grad()
    def __call__(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Add the gradient of the penalty (a pre-step hook of torch's optimizers)."""
        parameters, curvature, anchor = self._lists
        if not parameters:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        distance = torch._foreach_sub([p.data for p in parameters], anchor)
        torch._foreach_addcmul_([p.grad for p in parameters if p.grad is not None], curvature, distance)

    @torch.no_grad()
    def penalty(self) -> float:
        """Return ``sum(curvature * (theta - anchor)^2) / 2`` for the current weights, 0 at the anchor."""
        parameters, curvature, anchor = self._lists
        if not parameters:
            return 0.0
        distances = torch._foreach_sub([p.data for p in parameters], anchor)
        terms = [torch.dot(c.flatten(), d.flatten().square()) for c, d in zip(curvature, distances, strict=True)]
        return float(torch.stack(terms).sum()) / 2

    def state_dict(self) -> dict[str, Any]:
        return {"pull": dict(self.curvature), "anchor": dict(self.anchor)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.curvature, self.anchor = dict(state["pull"]), dict(state["anchor"])
