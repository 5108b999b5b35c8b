"""Synaptic intelligence (SI)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.parts.networks import Networks, network_keys
from rlcl.methods.parts.parameters import named_parameters
from rlcl.methods.parts.quadratic_penalty import Anchor
from rlcl.types import Experience, Host, Method

__all__ = ["PathIntegral", "Si"]


@define(eq=False)
class PathIntegral:
    """Contribution of each weight to the decrease of the loss: minus the sum of gradient times step.

    It covers the parameters of one optimizer. The gradient is taken before the step. The step is the actual change of
    the weights, for any optimizer. Each step takes four fused operations over preallocated buffers.

    Args:
        start: by parameter name, the weights at the start of the path.
        value: by parameter name, the integral since the start.

    Source: Zenke, Poole & Ganguli 2017, eq. 3.
    """

    start: dict[str, Tensor] = field(factory=dict)
    value: dict[str, Tensor] = field(factory=dict)
    _rows: list[tuple[nn.Parameter, Tensor, Tensor, Tensor]] = field(init=False, factory=list)
    _step: tuple[list[Tensor], ...] | None = field(init=False, default=None)

    def begin(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Start a new path at the current weights."""
        self.start = {name: p.detach().clone() for name, p in parameters.items()}
        self.value = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
        self.bind(parameters)

    def bind(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Bind the names to the current parameters."""
        known = {name: p for name, p in parameters.items() if name in self.value}
        self.value.update({name: self.value[name].to(p.device) for name, p in known.items()})
        self._rows = [
            (p, torch.empty_like(self.value[name]), torch.empty_like(self.value[name]), self.value[name])
            for name, p in known.items()
        ]

    @torch.no_grad()
    def before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Record the weights and gradients before a step (a pre-step hook of torch's optimizers)."""
        # A weight without a gradient contributes nothing. Other methods may set or change gradients later.
        rows = [row for row in self._rows if row[0].grad is not None]
        self._step = tuple([row[i] for row in rows] for i in range(4)) if rows else None
        if self._step is not None:
            weights, before, gradients, _ = self._step
            torch._foreach_copy_(before, weights)
            torch._foreach_copy_(gradients, [row[0].grad for row in rows if row[0].grad is not None])

    @torch.no_grad()
    def after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Add the contribution of a step to the integral (a post-step hook of torch's optimizers)."""
        if self._step is not None:
            weights, before, gradients, values = self._step
            torch._foreach_sub_(before, weights)
            torch._foreach_addcmul_(values, gradients, before)

    def state_dict(self) -> dict[str, Any]:
        return {"start": dict(self.start), "value": dict(self.value)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.start = dict(state["start"])
        self.value = {name: value.clone() for name, value in state["value"].items()}  # it changes in place


@define(eq=False)
class SiState:
    """State for the parameters of one optimizer: path integral, importance of the weights, and penalty."""

    path: PathIntegral = field(factory=PathIntegral)
    importance: dict[str, Tensor] = field(factory=dict)
    anchor: Anchor = field(factory=Anchor)


@define(kw_only=True, eq=False)
class Si(Method):
    """Quadratic penalty ``strength * sum_i Omega_i (theta_i - theta*_i)^2``, theta* the weights at the last boundary.

    Omega is a sum over past experiences: the contribution of a weight's path to the decrease of the loss,
    divided by the squared distance that the weight moved plus ``epsilon``. The penalty has no factor 1/2.

    Args:
        strength: weight of the penalty (c); 0 disables the method.
        epsilon: added to the squared distance (xi), in squared units of a weight.
        gradient: gradient to integrate: of the learner's ``own`` loss, or of the loss ``penalized`` by this method.
        lowest: minimum of Omega, applied at each boundary. With null there is no minimum, and a negative Omega repels a
            weight from its anchor.
        highest: maximum of Omega in the penalty; the sum itself is not limited. With null there is no maximum.
        networks: networks with a penalty: ``all``, critics too, or ``primary``, the network that predicts or acts.

    Source: Zenke, Poole & Ganguli 2017, Continual learning through synaptic intelligence, eqs. 3 to 5,
    whose authors' code corresponds to ``lowest: 0``. van de Ven et al. 2022 use ``gradient: penalized``.
    """

    strength: float = option(1.0, ge=0)
    epsilon: float = option(0.1, gt=0)
    gradient: Literal["own", "penalized"] = option("own")
    lowest: float | None = option(None, le=0)
    highest: float | None = option(None, gt=0)
    networks: Networks = option("all")
    _host: Host = field(init=False, default=None)
    _parts: dict[str, SiState] = field(init=False, factory=dict)

    requires = frozenset({"boundaries"})
    phase = "record"  # the penalty is added in this phase as well: a sum has no order
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = host
        for name in network_keys(host, self.networks) if self.strength else ():
            optimizer = host.optimizers[name]
            part = self._parts[name] = SiState()
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
                previous = part.importance.get(key)
                if previous is not None and previous.shape == importance.shape:  # otherwise new, or a head that grew
                    importance += previous.to(importance.device)
                if self.lowest is not None:
                    importance.clamp_(min=self.lowest)
                part.importance[key] = importance
                limited = importance if self.highest is None else importance.clamp(max=self.highest)
                part.anchor.curvature[key] = 2 * self.strength * limited
                part.anchor.anchor[key] = weights
            part.anchor.bind(parameters)

    def quantities(self) -> Mapping[str, float]:
        """See :class:`rlcl.types.Method`."""
        return {"penalty": sum(part.anchor.penalty() for part in self._parts.values())}

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
