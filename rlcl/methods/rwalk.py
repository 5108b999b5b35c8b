"""Riemannian walk (RWalk)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.parts.parameters import named_parameters
from rlcl.methods.parts.quadratic_penalty import Anchor
from rlcl.methods.si import PathIntegral
from rlcl.types import Experience, Host, Method

__all__ = ["RWalk"]


@define(eq=False)
class WalkState:
    """State of the Riemannian walk for the parameters of one optimizer.

    Args:
        decay: share of the newest squared gradient in the running Fisher (alpha).
        interval: updates over which the decrease of the loss is divided by the squared distance.
        epsilon: added to half the squared distance.
    """

    decay: float
    interval: int
    epsilon: float
    path: PathIntegral = field(factory=PathIntegral)
    anchor: Anchor = field(factory=Anchor)
    fisher: dict[str, Tensor] = field(factory=dict)
    score: dict[str, Tensor] = field(factory=dict)
    past: dict[str, Tensor] = field(factory=dict)
    updates: int = 0
    _parameters: Mapping[str, nn.Parameter] = field(init=False, factory=dict)

    def begin(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Reset the scores for a new experience; the running Fisher continues."""
        self.score = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
        self.updates = 0
        self.path.begin(parameters)
        self.bind(parameters)

    def bind(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Bind the names to the current parameters."""
        self._parameters = parameters
        for values in (self.fisher, self.score, self.past):
            same_shape = {
                n: values[n].to(p.device) for n, p in parameters.items() if n in values and values[n].shape == p.shape
            }
            values.clear()  # drops the values of a head that grew
            values.update(same_shape)
        self.anchor.bind(parameters)

    @torch.no_grad()
    def before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Update the running Fisher (a pre-step hook of torch's optimizers)."""
        gradients = {name: p.grad for name, p in self._parameters.items() if p.grad is not None}
        if not gradients:
            return
        values = list(gradients.values())
        squares = dict(zip(gradients, torch._foreach_mul(values, values), strict=True))
        known = [name for name in squares if name in self.fisher]
        if known:
            torch._foreach_lerp_([self.fisher[n] for n in known], [squares[n] for n in known], self.decay)
        self.fisher.update({name: square for name, square in squares.items() if name not in self.fisher})

    def after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Update the scores at the end of an interval (a post-step hook of torch's optimizers)."""
        self.updates += 1
        if self.updates % self.interval == 0:
            self.close_interval()

    @torch.no_grad()
    def close_interval(self) -> None:
        """Add the decrease of the loss over the current interval, divided by the squared distance, to the scores."""
        for name, decrease in self.path.value.items():
            if name in self.fisher:
                distance = self._parameters[name] - self.path.start[name].to(decrease.device)
                self.score[name] += decrease / (self.fisher[name] * distance.square() / 2 + self.epsilon)
        self.path.begin(self._parameters)

    @torch.no_grad()
    def end(self, strength: float) -> None:
        """Average the scores with the past scores, and set the penalty's curvature from the Fisher and the scores."""
        if self.updates % self.interval:
            self.close_interval()
        self.past = {n: (self.past[n] + score) / 2 if n in self.past else score for n, score in self.score.items()}
        fisher, scores = _normalized(self.fisher), _normalized({n: s.clamp(min=0) for n, s in self.past.items()})
        self.anchor.curvature = {n: 2 * strength * (fisher[n] + scores[n]) for n in fisher}
        self.anchor.anchor = {n: self._parameters[n].detach().clone() for n in fisher}
        self.anchor.bind(self._parameters)

    def state_dict(self) -> dict[str, Any]:
        return {
            "fisher": dict(self.fisher),
            "score": dict(self.score),
            "past": dict(self.past),
            "updates": self.updates,
            "path": self.path.state_dict(),
            "anchor": self.anchor.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], parameters: Mapping[str, nn.Parameter]) -> None:
        # The running values change in place, and the saved values must not.
        self.fisher = {name: value.clone() for name, value in state["fisher"].items()}
        self.score = {name: value.clone() for name, value in state["score"].items()}
        self.past, self.updates = dict(state["past"]), state["updates"]
        self.path.load_state_dict(state["path"])
        self.path.bind(parameters)
        self.anchor.load_state_dict(state["anchor"])
        self.bind(parameters)


@define(kw_only=True, eq=False)
class RWalk(Method):
    """Quadratic penalty ``strength * sum_i (F_i + s_i) (theta_i - theta*_i)^2``, theta* the last boundary's weights.

    F is a running mean of the squared gradients of the minibatches (EWC++). s is a sum over intervals of updates: the
    decrease of the loss due to the change of a weight, divided by half the squared length of the change under F. At
    each boundary s is averaged with the score of past experiences. F and s are each divided by their maximum, and
    negative values of s count as 0. The penalty has no factor 1/2. The gradients are those of the learner's own loss.

    Args:
        strength: weight of the penalty (lambda); 0 disables the method.
        decay: share of the newest squared gradient in the running Fisher, F (alpha).
        interval: updates of an interval (delta t); the remaining updates of an experience count as an interval.
        epsilon: added to half the squared length.

    Source: Chaudhry et al. 2018, Riemannian walk for incremental learning, eqs. 6 to 8.
    """

    strength: float = option(0.1, ge=0)
    decay: float = option(0.9, gt=0, le=1)
    interval: int = option(10, ge=1)
    epsilon: float = option(1e-7, gt=0)
    _host: Host = field(init=False, default=None)
    _walks: dict[str, WalkState] = field(init=False, factory=dict)

    requires = frozenset({"boundaries"})
    phase = "record"  # the penalty is added in this phase as well: a sum has no order
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._walks = host, {}
        for name, optimizer in host.optimizers.items() if self.strength else ():
            walk = self._walks[name] = WalkState(self.decay, self.interval, self.epsilon)
            optimizer.register_step_pre_hook(walk.before)
            optimizer.register_step_pre_hook(walk.path.before)
            optimizer.register_step_pre_hook(walk.anchor)
            optimizer.register_step_post_hook(walk.path.after)
            optimizer.register_step_post_hook(walk.after)

    def begin(self, experience: Experience, updates: int | None) -> None:
        for name, walk in self._walks.items():
            walk.begin(named_parameters(self._host, name))

    def end(self, experience: Experience) -> None:
        for name, walk in self._walks.items():
            walk.bind(named_parameters(self._host, name))
            walk.end(self.strength)

    def quantities(self) -> Mapping[str, float]:
        """See :class:`rlcl.types.Method`."""
        return {"penalty": sum(walk.anchor.penalty() for walk in self._walks.values())}

    def state_dict(self) -> dict[str, Any]:
        return {name: walk.state_dict() for name, walk in self._walks.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, saved in state.items():
            self._walks[name].load_state_dict(saved, named_parameters(self._host, name))


def _normalized(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Divide all tensors by their common maximum."""
    maximum = max((float(value.max()) for value in values.values() if value.numel()), default=0.0)
    return {name: value / maximum if maximum > 0 else torch.zeros_like(value) for name, value in values.items()}
