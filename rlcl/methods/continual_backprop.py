"""Continual backpropagation: the least useful units are replaced by fresh ones, a few at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.parts.hidden_units import HiddenLayer, hidden_layers, listen, refusal
from rlcl.methods.parts.weight_steps import WeightSteps
from rlcl.types import Experience, Host, Method

__all__ = ["ContinualBackprop", "Utility"]


@define(eq=False)
class Utility:
    """How useful each of a layer's U units is, and which are to be replaced.

    Args:
        age: (U,) updates since each was fresh.
        mean: (C, U, K) running mean of the activations, not yet corrected for its start at zero.
        value: (U,) running mean of the utilities, not yet corrected.
        owed: replacements that are due; a fraction is carried on.
    """

    age: Tensor
    mean: Tensor
    value: Tensor
    owed: float = 0.0

    @classmethod
    def fresh(cls, layer: HiddenLayer) -> Utility:
        places = layer.weights.shape[3] if isinstance(layer.outgoing, torch.nn.Linear) else 1
        zeros = layer.weights.new_zeros
        return cls(zeros(layer.units), zeros(layer.copies, layer.units, places), zeros(layer.units))

    def observe(self, h: Tensor, outgoing: Tensor, incoming: Tensor, decay: float) -> None:
        """Takes in one update.

        Args:
            h: (N, C, U, K) activations of its minibatch.
            outgoing: (O, C, U, K) weights that read them.
            incoming: (U, ...) weights that feed them.
            decay: of the running means.
        """
        self.age += 1
        self.mean.lerp_(h.mean(0), 1 - decay)
        spread = (h - self.mean / self.correction(decay)[:, None]).abs().mean(0)
        contribution = (spread * outgoing.abs().mean(0)).sum(0).mean(1)
        self.value.lerp_(contribution / incoming.abs().flatten(1).mean(1).clamp_min(1e-12), 1 - decay)

    def correction(self, decay: float) -> Tensor:
        """(U,) what a running mean of that age is divided by, for it began at zero."""
        return 1 - decay**self.age

    def due(self, rate: float, maturity: int, decay: float) -> Tensor | None:
        """(R,) the least useful mature units, for which ``rate`` of the mature ones has added up; None where R is 0."""
        mature = self.age > maturity
        self.owed += rate * int(mature.sum())
        count = int(self.owed)
        if not count:
            return None
        self.owed -= count
        useful = torch.where(mature, self.value / self.correction(decay), torch.inf)
        return useful.argsort(stable=True)[:count]  # dead units tie at 0: the first of them, on every device

    def forget(self, units: Tensor) -> None:
        self.age[units] = 0
        self.value[units] = 0
        self.mean[:, units] = 0


@define(kw_only=True, eq=False)
class ContinualBackprop(Method):
    """Replaces the least useful hidden units by fresh ones, so that a network stays able to learn.

    A unit's utility is the running mean of the magnitude of its contribution, the deviation of its
    activation from its own mean times its outgoing weights, over the mean magnitude of its incoming
    weights. A replaced unit gets incoming weights as at first and outgoing ones of zero; what it
    contributed on average goes into the next layer's bias; the optimizer forgets its moments, and Adam counts its steps
    anew.

    Args:
        replacement_rate: share of a layer's mature units that is replaced at each update; fractions
            add up. 0 equals no method.
        maturity: updates for which a fresh unit is left alone.
        decay: of the running means of activations and utilities.

    Source: Dohare et al. 2024, Loss of plasticity in deep continual learning, algorithm 1; the utility corrected
    for the mean and over incoming weights is that of Dohare, Sutton & Mahmood 2021, Continual backprop, section 4.
    Steps of each weight are counted as in the authors' code (shibhansh/loss-of-plasticity, AdamGnT).
    """

    replacement_rate: float = option(1e-4, ge=0, le=1)
    maturity: int = option(100, ge=0)
    decay: float = option(0.99, ge=0, lt=1)
    _rng: np.random.Generator = field(init=False, default=None)
    _layers: list[HiddenLayer] = field(init=False, factory=list)
    _utilities: dict[str, Utility] = field(init=False, factory=dict)
    _heard: dict[str, list[Tensor]] = field(init=False, factory=dict)
    _parameters: dict[str, Tensor] = field(init=False, factory=dict)
    _steps: WeightSteps = field(init=False, factory=WeightSteps)

    requires = frozenset({"native"})
    phase = "edit"
    reopens = True
    null: ClassVar[Mapping[str, Any] | None] = {"replacement_rate": 0.0}

    def refuses(self, host: Host) -> str | None:
        return refusal(host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._rng = rng
        if not self.replacement_rate:
            return
        self._layers = hidden_layers(host.modules[host.primary])
        self._parameters = dict(host.modules[host.primary].named_parameters())
        self._utilities = {layer.name: Utility.fresh(layer) for layer in self._layers}
        self._heard = listen(self._layers, lambda: True)
        host.optimizers[host.primary].register_step_post_hook(self._replace)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        pass

    @torch.no_grad()
    def _replace(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._steps.correct(optimizer, self._parameters)
        for layer in self._layers:
            heard, utility = self._heard.pop(layer.name, None), self._utilities[layer.name]
            if heard is None:  # no forward pass for this step
                continue
            h = torch.cat([layer.activations(x) for x in heard])
            utility.observe(h, layer.weights, layer.incoming.weight, self.decay)
            units = utility.due(self.replacement_rate, self.maturity, self.decay)
            if units is not None:
                self._transfer(layer, units)
                layer.replace(units, optimizer, torch.Generator().manual_seed(int(self._rng.integers(2**62))))
                self._restart(layer, units, optimizer)
                utility.forget(units)

    def _restart(self, layer: HiddenLayer, units: Tensor, optimizer: Optimizer) -> None:
        names = {id(parameter): name for name, parameter in self._parameters.items()}
        replaced = {names[id(parameter)]: (parameter, mask) for parameter, mask in layer.replaced(units)}
        self._steps.restart(optimizer, replaced)

    def _transfer(self, layer: HiddenLayer, units: Tensor) -> None:
        """Leaves the outputs as they are on average: the bias takes over the units' mean contribution."""
        if layer.outgoing.bias is not None:
            utility = self._utilities[layer.name]
            mean = (utility.mean / utility.correction(self.decay)[:, None])[:, units]
            layer.outgoing.bias += (layer.weights[:, :, units] * mean).sum((1, 2, 3))

    def state_dict(self) -> dict[str, Any]:
        kept = {n: {"age": u.age, "mean": u.mean, "value": u.value, "owed": u.owed} for n, u in self._utilities.items()}
        return {"rng": self._rng.bit_generator.state, "utilities": kept, "steps": self._steps.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._steps.load_state_dict(state.get("steps", {}), self._parameters)  # not in those from before it counted
        for name, kept in state["utilities"].items():
            device = self._utilities[name].age.device
            age, mean, value = (kept[key].to(device, copy=True) for key in ("age", "mean", "value"))
            self._utilities[name] = Utility(age, mean, value, kept["owed"])
