"""Synaptic intelligence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.parts.parameters import named_parameters
from rlcl.methods.parts.quadratic_penalty import Anchor
from rlcl.types import Experience, Host, Method

__all__ = ["PathIntegral", "Si"]


@define(eq=False)
class PathIntegral:
    """What each weight's way contributed to the fall of the loss: minus the sum of gradient times step.

    One optimizer's. The gradient is taken before the step, the step as it came out, whatever the
    optimizer makes of the gradient. Four fused operations a step over buffers that are kept.

    Args:
        start: by parameter name, the weights where the way began.
        value: by parameter name, the integral since then.

    Source: Zenke, Poole & Ganguli 2017, eq. 3.
    """

    start: dict[str, Tensor] = field(factory=dict)
    value: dict[str, Tensor] = field(factory=dict)
    _rows: list[tuple[nn.Parameter, Tensor, Tensor, Tensor]] = field(init=False, factory=list)
    _moving: tuple[list[Tensor], ...] | None = field(init=False, default=None)

    def begin(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Starts anew from the present weights."""
        self.start = {name: p.detach().clone() for name, p in parameters.items()}
        self.value = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
        self.bind(parameters)

    def bind(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Says which parameters the names stand for now."""
        known = {name: p for name, p in parameters.items() if name in self.value}
        self.value.update({name: self.value[name].to(p.device) for name, p in known.items()})
        self._rows = [
            (p, torch.empty_like(self.value[name]), torch.empty_like(self.value[name]), self.value[name])
            for name, p in known.items()
        ]

    @torch.no_grad()
    def before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """A pre-step hook of torch's optimizers."""
        # A weight whose gradient is None adds nothing; other methods may give it one, or change these.
        rows = [row for row in self._rows if row[0].grad is not None]
        self._moving = tuple([row[i] for row in rows] for i in range(4)) if rows else None
        if self._moving is not None:
            weights, before, gradients, _ = self._moving
            torch._foreach_copy_(before, weights)
            torch._foreach_copy_(gradients, [row[0].grad for row in rows if row[0].grad is not None])

    @torch.no_grad()
    def after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """A post-step hook of torch's optimizers."""
        if self._moving is not None:
            weights, before, gradients, values = self._moving
            torch._foreach_sub_(before, weights)
            torch._foreach_addcmul_(values, gradients, before)

    def state_dict(self) -> dict[str, Any]:
        return {"start": dict(self.start), "value": dict(self.value)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.start = dict(state["start"])
        self.value = {name: value.clone() for name, value in state["value"].items()}  # it is added to in place


@define(eq=False)
class Part:
    """What is kept of one optimizer: its way, every weight's importance, and the penalty that this makes."""

    path: PathIntegral = field(factory=PathIntegral)
    importance: dict[str, Tensor] = field(factory=dict)
    anchor: Anchor = field(factory=Anchor)


@define(kw_only=True, eq=False)
class Si(Method):
    """Adds ``strength * sum_i Omega_i (theta_i - theta*_i)^2``, theta* being the weights at the last boundary.

    Omega sums, over past experiences, what each weight's way contributed to the fall of the loss,
    divided by the square of its distance plus ``epsilon``. The penalty has no half.

    Args:
        strength: of the penalty (c); 0 equals no method.
        epsilon: added to the squared distance (xi), in squared units of a weight.
        gradient: what is integrated: the gradient of the learner's ``own`` loss, or the one that is
            ``penalized`` by this method.
        lowest: what a lesser Omega is set to at each boundary; null for no bound, so that it may push a weight away.
        highest: what a greater Omega counts as in the penalty, its sum going on unbounded; null for no bound.

    Source: Zenke, Poole & Ganguli 2017, Continual learning through synaptic intelligence, eqs. 3 to 5,
    whose authors' code has ``lowest: 0``. van de Ven et al. 2022 have ``gradient: penalized``.
    """

    strength: float = option(1.0, ge=0)
    epsilon: float = option(0.1, gt=0)
    gradient: Literal["own", "penalized"] = option("own")
    lowest: float | None = option(None, le=0)
    highest: float | None = option(None, gt=0)
    _host: Host = field(init=False, default=None)
    _parts: dict[str, Part] = field(init=False, factory=dict)

    requires = frozenset({"boundaries"})
    phase = "record"  # its penalty is added in this phase as well: a sum has no order
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = host
        for name, optimizer in host.optimizers.items() if self.strength else ():
            part = self._parts[name] = Part()
            if self.gradient == "penalized":
                optimizer.register_step_pre_hook(part.anchor)
            optimizer.register_step_pre_hook(part.path.before)
            if self.gradient == "own":
                optimizer.register_step_pre_hook(part.anchor)
            optimizer.register_step_post_hook(part.path.after)

    def begin(self, experience: Experience, updates: int | None) -> None:
        for name, part in self._parts.items():
            parameters = named_parameters(self._host, name)
            part.path.begin(parameters)
            part.anchor.bind(parameters)

    def end(self, experience: Experience) -> None:
        for name, part in self._parts.items():
            parameters = named_parameters(self._host, name)
            for key, integral in part.path.value.items():
                weights = parameters[key].detach().clone()
                distance = weights - part.path.start[key].to(weights.device)
                importance = integral / (distance.square() + self.epsilon)
                old = part.importance.get(key)
                if old is not None and old.shape == importance.shape:  # else new, or a head that grew
                    importance += old.to(importance.device)
                if self.lowest is not None:
                    importance.clamp_(min=self.lowest)
                part.importance[key] = importance
                counted = importance if self.highest is None else importance.clamp(max=self.highest)
                part.anchor.pull[key] = 2 * self.strength * counted
                part.anchor.anchor[key] = weights
            part.anchor.bind(parameters)

    def state_dict(self) -> dict[str, Any]:
        return {
            name: {
                "path": part.path.state_dict(),
                "importance": dict(part.importance),
                "anchor": part.anchor.state_dict(),
            }
            for name, part in self._parts.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, saved in state.items():
            part, parameters = self._parts[name], named_parameters(self._host, name)
            part.path.load_state_dict(saved["path"])
            part.path.bind(parameters)
            part.importance = dict(saved["importance"])
            part.anchor.load_state_dict(saved["anchor"])
            part.anchor.bind(parameters)
