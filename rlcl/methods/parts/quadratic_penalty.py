"""A quadratic pull of every weight towards an anchor: the penalty that EWC, L2-init and SI share."""

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
    """Adds ``pull * (theta - anchor)`` to the gradients before each step of one optimizer.

    Three fused operations over all parameters, and nothing per parameter in Python.

    Args:
        pull: by parameter name, the factor of each weight (the penalty's second derivative).
        anchor: by parameter name, where each weight is pulled to.
    """

    pull: dict[str, Tensor] = field(factory=dict)
    anchor: dict[str, Tensor] = field(factory=dict)
    _lists: tuple[list[nn.Parameter], list[Tensor], list[Tensor]] = field(init=False, factory=lambda: ([], [], []))

    def bind(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Says which parameters the names stand for now; one that is new or has changed its shape is left alone."""
        known = [n for n, p in parameters.items() if n in self.pull and self.pull[n].shape == p.shape]
        self._lists = (
            [parameters[n] for n in known],
            [self.pull[n].to(parameters[n].device) for n in known],
            [self.anchor[n].to(parameters[n].device) for n in known],
        )

    @torch.no_grad()
    def __call__(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """A pre-step hook of torch's optimizers."""
        parameters, pull, anchor = self._lists
        if not parameters:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        distance = torch._foreach_sub([p.data for p in parameters], anchor)
        torch._foreach_addcmul_([p.grad for p in parameters if p.grad is not None], pull, distance)

    def state_dict(self) -> dict[str, Any]:
        return {"pull": dict(self.pull), "anchor": dict(self.anchor)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.pull, self.anchor = dict(state["pull"]), dict(state["anchor"])
