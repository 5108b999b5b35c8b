"""ReDo: reinitialization of dormant hidden units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.evaluation.plasticity import dormancy
from rlcl.methods.parts.hidden_units import HiddenLayer, hidden_layers, record_layer_inputs, refusal
from rlcl.types import Experience, Host, Method

__all__ = ["Redo"]


@define(kw_only=True, eq=False)
class Redo(Method):
    """Periodic reinitialization of the hidden units that are dormant on the minibatch.

    The score of a unit is the mean magnitude of its activation, divided by the mean over the units of its layer.
    Replaced units get incoming weights from the initial distribution and outgoing weights of zero. The
    optimizer's moments of these weights are set to zero.

    Args:
        threshold: maximum score of a dormant unit (tau); with 0 only units without any activation are dormant.
        every: updates between two checks.

    Source: Sokar et al. 2023, The dormant neuron phenomenon in deep reinforcement learning, definition 3.1 and
    algorithm 1.
    """

    threshold: float = option(0.1, ge=0)
    every: int = option(1000, ge=1)
    _rng: np.random.Generator = field(init=False, default=None)
    _layers: list[HiddenLayer] = field(init=False, factory=list)
    _inputs: dict[str, list[Tensor]] = field(init=False, factory=dict)
    _updates: int = field(init=False, default=0)
    _replaced: int = field(init=False, default=0)

    requires = frozenset({"native"})
    phase = "edit"
    reopens = True
    null: ClassVar[Mapping[str, Any] | None] = None

    def refuses(self, host: Host) -> str | None:
        return refusal(host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._rng, self._updates, self._replaced = rng, 0, 0
        self._layers = hidden_layers(host.modules[host.primary])
        self._inputs = record_layer_inputs(self._layers, lambda: (self._updates + 1) % self.every == 0)
        host.optimizers[host.primary].register_step_post_hook(self._recycle)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        pass

    @torch.no_grad()
    def _recycle(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._updates += 1
        for layer in self._layers:
            inputs = self._inputs.pop(layer.name, None)
            if inputs is None:
                continue
            score = dormancy(torch.cat([layer.activations(x) for x in inputs]).abs().mean((0, 1, 3)))
            units = (score <= self.threshold).nonzero().flatten()
            self._replaced += len(units)
            if len(units):
                layer.replace(units, optimizer, torch.Generator().manual_seed(int(self._rng.integers(2**62))))

    def quantities(self) -> Mapping[str, float]:
        """See :class:`rlcl.types.Method`; units are counted since the first update."""
        return {"replaced_units": self._replaced}

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state, "updates": self._updates, "replaced": self._replaced}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state, self._updates = state["rng"], state["updates"]
        self._replaced = state.get("replaced", 0)  # absent from older checkpoints
