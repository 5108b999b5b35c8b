"""Continual backpropagation: gradual replacement of the hidden units with the lowest utility."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.parts.hidden_units import HiddenLayer, hidden_layers, record_layer_inputs, refusal
from rlcl.methods.parts.weight_steps import WeightSteps
from rlcl.types import Experience, Host, Method

__all__ = ["ContinualBackprop", "UnitUtility"]


@define(eq=False)
class UnitUtility:
    """Utilities of the U units of one layer, and the number of replacements that are due.

    Args:
        age: (U,) updates since the initialization or the last replacement of each unit.
        mean: (C, U, K) running mean of the activations, without bias correction for its start at zero.
        value: (U,) running mean of the utilities, without bias correction.
        owed: replacements that are due; the fractional part is carried over to the next update.
    """

    age: Tensor
    mean: Tensor
    value: Tensor
    owed: float = 0.0

    @classmethod
    def fresh(cls, layer: HiddenLayer) -> UnitUtility:
        positions = layer.weights.shape[3] if isinstance(layer.outgoing, torch.nn.Linear) else 1
        zeros = layer.weights.new_zeros
        return cls(zeros(layer.units), zeros(layer.copies, layer.units, positions), zeros(layer.units))

    def observe(self, h: Tensor, outgoing: Tensor, incoming: Tensor, decay: float) -> None:
        """Update the running means with the activations of one minibatch.

        Args:
            h: (N, C, U, K) activations of the minibatch.
            outgoing: (O, C, U, K) weights of the next layer.
            incoming: (U, ...) weights of this layer.
            decay: of the running means.
        """
        self.age += 1
        self.mean.lerp_(h.mean(0), 1 - decay)
        spread = (h - self.mean / self.correction(decay)[:, None]).abs().mean(0)
        contribution = (spread * outgoing.abs().mean(0)).sum(0).mean(1)
        self.value.lerp_(contribution / incoming.abs().flatten(1).mean(1).clamp_min(1e-12), 1 - decay)

    def correction(self, decay: float) -> Tensor:
        """Return the (U,) divisors that correct the running means for their start at zero."""
        return 1 - decay**self.age

    def due(self, rate: float, maturity: int, decay: float) -> Tensor | None:
        """Return the indices (R,) of the mature units to replace, those of the lowest utility; None if R is 0.

        Each call adds the share ``rate`` of the mature units to the number of replacements that are due.
        """
        mature = self.age > maturity
        self.owed += rate * int(mature.sum())
        count = int(self.owed)
        if not count:
            return None
        self.owed -= count
        utilities = torch.where(mature, self.value / self.correction(decay), torch.inf)
        return utilities.argsort(stable=True)[:count]  # stable: dead units tie at 0, and every device picks the same

    def reset(self, units: Tensor) -> None:
        self.age[units] = 0
        self.value[units] = 0
        self.mean[:, units] = 0


@define(kw_only=True, eq=False)
class ContinualBackprop(Method):
    """Reinitialization of the hidden units with the lowest utility, which maintains the plasticity of a network.

    The utility of a unit is the running mean of the magnitude of its contribution (the deviation of its
    activation from its mean, times its outgoing weights), divided by the mean magnitude of its incoming
    weights. A replaced unit gets incoming weights from the initial distribution and outgoing weights of zero.
    Its average contribution is added to the bias of the next layer. The optimizer's moments of its weights are set to
    zero, and Adam's step count of these weights starts again.

    Args:
        replacement_rate: share of a layer's mature units that is replaced at each update; fractions accumulate.
            0 disables the method.
        maturity: updates during which a new unit is not replaced.
        decay: of the running means of activations and utilities.

    Source: Dohare et al. 2024, Loss of plasticity in deep continual learning, algorithm 1. The utility, corrected
    for the mean and divided by incoming weights, is that of Dohare, Sutton & Mahmood 2021, Continual backprop,
    section 4. The step counts of single weights follow the authors' code (shibhansh/loss-of-plasticity, AdamGnT).
    """

    replacement_rate: float = option(1e-4, ge=0, le=1)
    maturity: int = option(100, ge=0)
    decay: float = option(0.99, ge=0, lt=1)
    _rng: np.random.Generator = field(init=False, default=None)
    _layers: list[HiddenLayer] = field(init=False, factory=list)
    _utilities: dict[str, UnitUtility] = field(init=False, factory=dict)
    _inputs: dict[str, list[Tensor]] = field(init=False, factory=dict)
    _parameters: dict[str, Tensor] = field(init=False, factory=dict)
    _steps: WeightSteps = field(init=False, factory=WeightSteps)
    _replaced: int = field(init=False, default=0)

    requires = frozenset({"native"})
    phase = "edit"
    reopens = True
    null: ClassVar[Mapping[str, Any] | None] = {"replacement_rate": 0.0}

    def refuses(self, host: Host) -> str | None:
        return refusal(host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._rng, self._replaced = rng, 0
        if not self.replacement_rate:
            return
        self._layers = hidden_layers(host.modules[host.primary])
        self._parameters = dict(host.modules[host.primary].named_parameters())
        self._utilities = {layer.name: UnitUtility.fresh(layer) for layer in self._layers}
        self._inputs = record_layer_inputs(self._layers, lambda: True)
        host.optimizers[host.primary].register_step_post_hook(self._replace)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        pass

    @torch.no_grad()
    def _replace(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._steps.correct(optimizer, self._parameters)
        for layer in self._layers:
            inputs, utility = self._inputs.pop(layer.name, None), self._utilities[layer.name]
            if inputs is None:  # no forward pass for this step
                continue
            h = torch.cat([layer.activations(x) for x in inputs])
            utility.observe(h, layer.weights, layer.incoming.weight, self.decay)
            units = utility.due(self.replacement_rate, self.maturity, self.decay)
            if units is not None:
                self._add_mean_to_bias(layer, units)
                layer.replace(units, optimizer, torch.Generator().manual_seed(int(self._rng.integers(2**62))))
                self._restart_steps(layer, units, optimizer)
                utility.reset(units)
                self._replaced += len(units)

    def _restart_steps(self, layer: HiddenLayer, units: Tensor, optimizer: Optimizer) -> None:
        names = {id(parameter): name for name, parameter in self._parameters.items()}
        replaced = {names[id(parameter)]: (parameter, mask) for parameter, mask in layer.replaced(units)}
        self._steps.restart(optimizer, replaced)

    def _add_mean_to_bias(self, layer: HiddenLayer, units: Tensor) -> None:
        """Add the mean contribution of units to the next layer's bias, so that the mean outputs do not change."""
        if layer.outgoing.bias is not None:
            utility = self._utilities[layer.name]
            mean = (utility.mean / utility.correction(self.decay)[:, None])[:, units]
            layer.outgoing.bias += (layer.weights[:, :, units] * mean).sum((1, 2, 3))

    def quantities(self) -> Mapping[str, float]:
        """See :class:`rlcl.types.Method`; units are counted since the first update."""
        return {"replaced_units": self._replaced}

    def state_dict(self) -> dict[str, Any]:
        utilities = {
            n: {"age": u.age, "mean": u.mean, "value": u.value, "owed": u.owed} for n, u in self._utilities.items()
        }
        return {
            "rng": self._rng.bit_generator.state,
            "utilities": utilities,
            "steps": self._steps.state_dict(),
            "replaced": self._replaced,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        # Absent from older checkpoints.
        self._steps.load_state_dict(state.get("steps", {}), self._parameters)
        self._replaced = state.get("replaced", 0)
        for name, saved in state["utilities"].items():
            device = self._utilities[name].age.device
            age, mean, value = (saved[key].to(device, copy=True) for key in ("age", "mean", "value"))
            self._utilities[name] = UnitUtility(age, mean, value, saved["owed"])
