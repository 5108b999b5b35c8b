"""Riemannian walk."""

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
class Walk:
    """One optimizer's way through the weights, measured by the Fisher information along it.

    Args:
        decay: share of the newest squared gradient in the running Fisher (alpha).
        interval: updates over which a fall of the loss is compared with the distance it took.
        epsilon: added to that distance.
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
        """Starts an experience's scores from nothing; the Fisher runs on."""
        self.score = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
        self.updates = 0
        self.path.begin(parameters)
        self.bind(parameters)

    def bind(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Says which parameters the names stand for now."""
        self._parameters = parameters
        for kept in (self.fisher, self.score, self.past):
            same = {n: kept[n].to(p.device) for n, p in parameters.items() if n in kept and kept[n].shape == p.shape}
            kept.clear()  # of a head that grew, what its old shape gave is given up
            kept.update(same)
        self.anchor.bind(parameters)

    @torch.no_grad()
    def before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """A pre-step hook: the running Fisher."""
        gradients = {name: p.grad for name, p in self._parameters.items() if p.grad is not None}
        if not gradients:
            return
        own = list(gradients.values())
        squares = dict(zip(gradients, torch._foreach_mul(own, own), strict=True))
        known = [name for name in squares if name in self.fisher]
        if known:
            torch._foreach_lerp_([self.fisher[n] for n in known], [squares[n] for n in known], self.decay)
        self.fisher.update({name: square for name, square in squares.items() if name not in self.fisher})

    def after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """A post-step hook: the score of an interval that ends."""
        self.updates += 1
        if self.updates % self.interval == 0:
            self.close()

    @torch.no_grad()
    def close(self) -> None:
        """Adds the fall of the loss over the present interval, by its length, to the scores."""
        for name, fall in self.path.value.items():
            if name in self.fisher:
                distance = self._parameters[name] - self.path.start[name].to(fall.device)
                self.score[name] += fall / (self.fisher[name] * distance.square() / 2 + self.epsilon)
        self.path.begin(self._parameters)

    @torch.no_grad()
    def end(self, strength: float) -> None:
        """Averages the scores with the past ones, and pulls by Fisher and score from here on."""
        if self.updates % self.interval:
            self.close()
        self.past = {n: (self.past[n] + score) / 2 if n in self.past else score for n, score in self.score.items()}
        fisher, scores = _scaled(self.fisher), _scaled({n: s.clamp(min=0) for n, s in self.past.items()})
        self.anchor.pull = {n: 2 * strength * (fisher[n] + scores[n]) for n in fisher}
        self.anchor.anchor = {n: self._parameters[n].detach().clone() for n in fisher}
        self.anchor.bind(self._parameters)

    def state_dict(self) -> dict[str, Any]:
        kept = {"fisher": dict(self.fisher), "score": dict(self.score), "past": dict(self.past)}
        return {
            **kept,
            "updates": self.updates,
            "path": self.path.state_dict(),
            "anchor": self.anchor.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], parameters: Mapping[str, nn.Parameter]) -> None:
        # The running ones change in place: the saved ones must not.
        self.fisher = {name: value.clone() for name, value in state["fisher"].items()}
        self.score = {name: value.clone() for name, value in state["score"].items()}
        self.past, self.updates = dict(state["past"]), state["updates"]
        self.path.load_state_dict(state["path"])
        self.path.bind(parameters)
        self.anchor.load_state_dict(state["anchor"])
        self.bind(parameters)


@define(kw_only=True, eq=False)
class RWalk(Method):
    """Adds ``strength * sum_i (F_i + s_i) (theta_i - theta*_i)^2``, theta* being the weights at the last boundary.

    F is a running mean of the minibatches' squared gradients (EWC++); s sums, over intervals of
    updates, the fall of the loss that a weight's way brought, divided by half its squared length under
    F, and is averaged with that of past experiences at each boundary. Each is divided by its greatest value,
    and what is negative in s counts as 0. The penalty has no half. The gradients are those of the learner's own loss.

    Args:
        strength: of the penalty (lambda); 0 equals no method.
        decay: share of the newest squared gradient in the running Fisher, F (alpha).
        interval: updates between two sums (delta t); what is left at an experience's end counts as one.
        epsilon: added to half the squared length.

    Source: Chaudhry et al. 2018, Riemannian walk for incremental learning, eqs. 6 to 8.
    """

    strength: float = option(0.1, ge=0)
    decay: float = option(0.9, gt=0, le=1)
    interval: int = option(10, ge=1)
    epsilon: float = option(1e-7, gt=0)
    _host: Host = field(init=False, default=None)
    _walks: dict[str, Walk] = field(init=False, factory=dict)

    requires = frozenset({"boundaries"})
    phase = "record"  # its penalty is added in this phase as well: a sum has no order
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._walks = host, {}
        for name, optimizer in host.optimizers.items() if self.strength else ():
            walk = self._walks[name] = Walk(self.decay, self.interval, self.epsilon)
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

    def state_dict(self) -> dict[str, Any]:
        return {name: walk.state_dict() for name, walk in self._walks.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, saved in state.items():
            self._walks[name].load_state_dict(saved, named_parameters(self._host, name))


def _scaled(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors divided by the greatest value in any of them."""
    greatest = max((float(value.max()) for value in values.values() if value.numel()), default=0.0)
    return {name: value / greatest if greatest > 0 else torch.zeros_like(value) for name, value in values.items()}
