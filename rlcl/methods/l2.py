"""L2 regularization towards the weights at the last boundary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field

from rlcl.config import option
from rlcl.methods.parts.networks import Networks, network_keys
from rlcl.methods.parts.parameters import named_parameters
from rlcl.methods.parts.quadratic_penalty import Anchor
from rlcl.types import Experience, Host, Method

__all__ = ["L2"]


@define(kw_only=True, eq=False)
class L2(Method):
    """Penalty ``strength * |theta - theta*|^2``, theta* being the weights at the last boundary.

    It is EWC with the same importance for all weights, and a baseline for methods with an importance per weight.

    Args:
        strength: weight of the penalty; 0 disables the method.
        networks: networks with a penalty: ``all``, critics too, or ``primary``, the network that predicts or acts.

    Source: the baseline L2 of Kirkpatrick et al. 2017, figure 2; without the factor 1/2. Wołczyk et al. 2021,
    Continual World, penalize the actor only, with ``strength: 1e5``.
    """

    strength: float = option(1e-2, ge=0)
    networks: Networks = option("all")
    _host: Host = field(init=False, default=None)
    _anchors: dict[str, Anchor] = field(init=False, factory=dict)

    requires = frozenset({"boundaries"})
    phase = "add"
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = host
        for name in network_keys(host, self.networks) if self.strength else ():
            optimizer = host.optimizers[name]
            self._anchors[name] = Anchor()
            optimizer.register_step_pre_hook(self._anchors[name])

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._bind()

    def end(self, experience: Experience) -> None:
        for name, anchor in self._anchors.items():
            weights = {n: p.detach().clone() for n, p in named_parameters(self._host, name).items()}
            anchor.curvature = {n: torch.full_like(w, 2 * self.strength) for n, w in weights.items()}
            anchor.anchor = weights
        self._bind()

    def _bind(self) -> None:
        for name, anchor in self._anchors.items():
            anchor.bind(named_parameters(self._host, name))

    def quantities(self) -> Mapping[str, float]:
        """See :class:`rlcl.types.Method`."""
        return {"penalty": sum(anchor.penalty() for anchor in self._anchors.values())}

    def state_dict(self) -> dict[str, Any]:
        return {name: anchor.state_dict() for name, anchor in self._anchors.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, part in state.items():
            self._anchors[name].load_state_dict(part)
        self._bind()
