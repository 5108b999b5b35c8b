"""L2 regularization towards the initial weights, which maintains plasticity."""

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

__all__ = ["L2Init"]


@define(kw_only=True, eq=False)
class L2Init(Method):
    """Penalty ``strength * |theta - theta_0|^2``, theta_0 being the initial weights.

    Args:
        strength: weight of the penalty; 0 disables the method.
        networks: networks with a penalty: ``all``, critics too, or ``primary``, the network that predicts or acts.

    Source: Kumar et al. 2023, Maintaining plasticity in continual learning via regenerative
    regularization, eq. 1.
    """

    strength: float = option(1e-4, ge=0)
    networks: Networks = option("all")
    _host: Host = field(init=False, default=None)
    _anchors: dict[str, Anchor] = field(init=False, factory=dict)

    requires = frozenset[str]()
    phase = "add"
    reopens = True
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = host
        for name in network_keys(host, self.networks):
            optimizer = host.optimizers[name]
            start = {n: p.detach().clone() for n, p in named_parameters(host, name).items()}
            curvature = {n: torch.full_like(p, 2 * self.strength) for n, p in start.items()} if self.strength else {}
            self._anchors[name] = Anchor(curvature, start)
            optimizer.register_step_pre_hook(self._anchors[name])
        self._bind()

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._bind()

    def end(self, experience: Experience) -> None:
        pass

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
