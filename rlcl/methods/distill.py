"""Distillation: old inputs keep their old outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.memory import ReservoirMemory
from rlcl.methods.modes import evaluating
from rlcl.methods.parameters import add_gradients_of, device_of, named_parameters
from rlcl.types import Experience, Host

__all__ = ["Distill", "distillation_loss"]


@define(kw_only=True, eq=False)
class Distill:
    """Adds ``strength`` times the distance to stored outputs on stored inputs of past experiences.

    At the end of an experience, a sample of its inputs is stored with the network's outputs. It
    needs neither targets nor the loss, so that it serves policies and value functions as well.

    Args:
        strength: of the distance; 0 equals no method.
        capacity: inputs kept, in all; a uniform sample of what the experiences offer.
        samples: inputs that each experience offers.
        batch_size: stored inputs drawn for each update.

    Source: the distance between logits is Buzzega et al. 2020, eq. 5; for policies and values
    Rusu et al. 2016, Policy distillation, eqs. 2 and 3, and Rolnick et al. 2019 (CLEAR), eq. 1.
    """

    strength: float = option(1.0, ge=0, help="of the distance to the stored outputs")
    capacity: int = option(1000, ge=1, help="inputs kept, in all")
    samples: int = option(500, ge=1, help="inputs that each experience offers")
    batch_size: int = option(32, ge=1, help="stored inputs drawn for each update")
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _memory: ReservoirMemory = field(init=False, default=None)

    requires = frozenset({"boundaries"})
    phase = "add"
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}
    kinds = frozenset({"categorical", "gaussian", "values", "reconstruction"})

    @property
    def memory(self) -> ReservoirMemory:
        return self._memory

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = host, rng
        self._memory = ReservoirMemory(self.capacity, rng)
        host.optimizers[host.primary].register_step_pre_hook(self._add)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        host = self._host
        batch = host.sample(self.samples, self._rng)
        with evaluating(host.modules[host.primary]):
            outputs = host.outputs(batch.inputs, batch.task_ids)
        self._memory.insert(inputs=batch.inputs, outputs=outputs, task_ids=batch.task_ids)

    def _add(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self.strength or not len(self._memory):
            return
        host = self._host
        stored = self._memory.draw(self.batch_size)
        outputs = host.outputs(stored["inputs"], stored.get("task_ids"))
        loss = self.strength * distillation_loss(outputs, stored["outputs"], host.kind)
        add_gradients_of(loss, named_parameters(host, host.primary))

    def forget(self) -> None:
        self._memory.clear()

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self._memory.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._memory.load_state_dict(state["memory"], device_of(self._host))


def distillation_loss(outputs: Tensor, stored: Tensor, kind: str) -> Tensor:
    """Mean distance between outputs (B, K) and what was stored of them (B, K), a scalar.

    The squared distance, but for policies over continuous actions: there the divergence
    KL(stored || now) of the two Gaussians, summed over actions, for a mean weighs more where the
    stored policy was sure.
    """
    if kind != "gaussian":
        return (outputs - stored).square().mean()
    mean, log_std = outputs.chunk(2, 1)
    old_mean, old_log_std = stored.chunk(2, 1)
    variance = (2 * log_std).exp()
    divergence = log_std - old_log_std + ((2 * old_log_std).exp() + (mean - old_mean).square()) / (2 * variance) - 0.5
    return divergence.sum(1).mean()
