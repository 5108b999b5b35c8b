"""Memory aware synapses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.methods.parts.modes import evaluating
from rlcl.methods.parts.parameters import named_parameters
from rlcl.methods.parts.per_example import mean_magnitudes
from rlcl.methods.parts.quadratic_penalty import Anchor
from rlcl.types import Experience, Host, Method

__all__ = ["Mas"]


@define(kw_only=True, eq=False)
class Mas(Method):
    """Adds ``strength * sum_i Omega_i (theta_i - theta*_i)^2``, theta* being the weights at the last boundary.

    Omega sums, over past experiences, the mean over inputs of how much each weight moves the squared
    length of the outputs: the gradient's absolute value. It needs no labels. The penalty has no half.

    Args:
        strength: of the penalty (lambda); 0 equals no method.
        samples: inputs of the experience just learned, that Omega is estimated on; null for all.

    Source: Aljundi et al. 2018, Memory aware synapses, eqs. 2 and 3, with the squared length of outputs.
    """

    strength: float = option(1.0, ge=0)
    samples: int | None = option(1000, ge=1)
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _anchor: Anchor = field(init=False, factory=Anchor)

    requires = frozenset({"boundaries"})
    phase = "add"
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}
    kinds = frozenset({"categorical", "gaussian", "values", "reconstruction"})

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = host, rng
        self._anchor = Anchor()
        host.optimizers[host.primary].register_step_pre_hook(self._anchor)

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._bind()

    def end(self, experience: Experience) -> None:
        if not self.strength:
            return
        weights, anchor = named_parameters(self._host, self._host.primary), self._anchor
        for name, importance in self._importance().items():
            pull, old = 2 * self.strength * importance, anchor.pull.get(name)
            if old is not None and old.shape == pull.shape:  # else new, or a head that grew
                pull += old.to(pull.device)
            anchor.pull[name], anchor.anchor[name] = pull, weights[name].detach().clone()
        self._bind()

    def _importance(self) -> dict[str, Tensor]:
        host = self._host
        module, parameters = host.modules[host.primary], named_parameters(host, host.primary)
        x, _, ids = host.sample(self.samples, self._rng)[:3]
        with evaluating(module, gradients=True):
            return mean_magnitudes(host.outputs, parameters, module, x, ids, _squared_length, torch.abs)

    def _bind(self) -> None:
        self._anchor.bind(named_parameters(self._host, self._host.primary))

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state, "anchor": self._anchor.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._anchor.load_state_dict(state["anchor"])
        self._bind()


def _squared_length(outputs: Tensor, rows: slice) -> Iterator[Tensor]:
    yield outputs.square().sum(1)
