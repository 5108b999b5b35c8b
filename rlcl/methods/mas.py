"""Memory aware synapses (MAS)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.methods.parts.networks import Networks, critics_refusal, network_keys, outputs_of, sample_inputs
from rlcl.methods.parts.parameters import named_parameters
from rlcl.methods.parts.per_example_gradients import mean_magnitudes
from rlcl.methods.parts.quadratic_penalty import Anchor
from rlcl.types import Experience, Host, Method

__all__ = ["Mas"]


@define(kw_only=True, eq=False)
class Mas(Method):
    """Quadratic penalty ``strength * sum_i Omega_i (theta_i - theta*_i)^2``, theta* the weights at the last boundary.

    Omega is the sum over past experiences of the mean over inputs of the absolute gradient of the squared norm of
    the outputs. It needs no labels. The penalty has no factor 1/2.

    Args:
        strength: weight of the penalty (lambda); 0 disables the method.
        samples: inputs of the experience that has just ended, on which Omega is estimated; null for all.
        networks: networks with a penalty: ``primary``, the network that predicts or acts, or ``all``, critics too.

    Source: Aljundi et al. 2018, Memory aware synapses, eqs. 2 and 3, with the squared norm of the outputs. Wołczyk et
    al. 2021, Continual World, penalize the actor only, with ``strength: 1e4``.
    """

    strength: float = option(1.0, ge=0)
    samples: int | None = option(1000, ge=1)
    networks: Networks = option("primary")
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _anchors: dict[str, Anchor] = field(init=False, factory=dict)  # by the key of the network

    requires = frozenset({"boundaries"})
    phase = "add"
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}
    kinds = frozenset({"categorical", "multi_categorical", "gaussian", "values", "reconstruction"})

    def refuses(self, host: Host) -> str | None:
        return critics_refusal(self.networks, host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = host, rng
        self._anchors = {key: Anchor() for key in network_keys(host, self.networks)}
        for key, anchor in self._anchors.items():
            host.optimizers[key].register_step_pre_hook(anchor)

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._bind()

    def end(self, experience: Experience) -> None:
        if not self.strength:
            return
        for key, anchor in self._anchors.items():
            weights = named_parameters(self._host, key)
            for name, importance in self._estimate_importance(key).items():
                curvature, previous = 2 * self.strength * importance, anchor.curvature.get(name)
                if previous is not None and previous.shape == curvature.shape:  # otherwise new, or a head that grew
                    curvature += previous.to(curvature.device)
                anchor.curvature[name], anchor.anchor[name] = curvature, weights[name].detach().clone()
        self._bind()

    def _estimate_importance(self, key: str) -> dict[str, Tensor]:
        host = self._host
        module, parameters = host.modules[key], named_parameters(host, key)
        x, _, ids = sample_inputs(host, key, self.samples, self._rng)[:3]
        with evaluation_mode(module, gradients=True):
            return mean_magnitudes(outputs_of(host, key), parameters, module, x, ids, _squared_norm, torch.abs)

    def _bind(self) -> None:
        for key, anchor in self._anchors.items():
            anchor.bind(named_parameters(self._host, key))

    def quantities(self) -> Mapping[str, float]:
        """See :class:`rlcl.types.Method`."""
        return {"penalty": sum(anchor.penalty() for anchor in self._anchors.values())}

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state, "anchors": {k: a.state_dict() for k, a in self._anchors.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        anchors = state["anchors"] if "anchors" in state else {self._host.primary: state["anchor"]}  # an older version
        for key, anchor in self._anchors.items():
            anchor.load_state_dict(anchors[key])
        self._bind()


def _squared_norm(outputs: Tensor, rows: slice) -> Iterator[Tensor]:
    yield outputs.square().sum(1)
