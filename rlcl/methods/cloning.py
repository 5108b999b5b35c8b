"""Behavioral cloning of the policies of past experiences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.methods.memories.examples import Examples
from rlcl.methods.memories.memory import Memory, WholeMemory
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.methods.parts.divergence import choices_of, kl_divergence
from rlcl.methods.parts.networks import critics_refusal
from rlcl.methods.parts.parameters import device_of
from rlcl.methods.parts.stored_outputs import StoredOutputs
from rlcl.types import Experience, Host, Method

__all__ = ["Cloning"]


@define(kw_only=True, eq=False)
class Cloning(Method):
    """Adds a loss term: ``strength`` times the divergence KL(stored policy || current policy) on stored observations.

    At the end of an experience, a sample of its observations is stored with the outputs of the policy. Stored critics
    are matched by the squared distance of their values. Outputs that are values (``dqn``, ``td3``) and not
    distributions are matched by the squared distance, too.

    Together with ``boundary: {exploration: best_return}`` and a ``multihead`` network, it is ClonEx-SAC.

    Args:
        strength: weight of the divergence; 0 disables the method.
        critic_strength: weight of the mean squared distance to the stored values of critics, in addition.
        samples: observations stored of each experience.
        capacity: observations in memory, in total: a uniform sample of all that are stored; null for no limit.
        batch_size: stored observations sampled for each update.

    Source: Wołczyk et al. 2022, Disentangling transfer in continual reinforcement learning (ClonEx-SAC), with its
    settings, which leave the critic free. The paper averages the gradient of the policy's loss and that of this term,
    and does not add them, which Adam does not distinguish.
    """

    strength: float = option(100.0, ge=0)
    critic_strength: float = option(0.0, ge=0)
    samples: int = option(10_000, ge=1)
    capacity: int | None = option(None, ge=1)
    batch_size: int = option(128, ge=1)
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _stored: dict[str, StoredOutputs] = field(init=False, factory=dict)  # by the key of the network
    _memory: Memory = field(init=False, default=None)

    requires = frozenset({"boundaries"})
    phase = "add"
    stores_at_end = True
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}
    kinds = frozenset({"categorical", "multi_categorical", "gaussian", "values"})

    @property
    def memory(self) -> Memory:
        return self._memory

    def refuses(self, host: Host) -> str | None:
        if self.critic_strength and len(host.optimizers) == 1:
            return "it has no critic as a network of its own; set critic_strength: 0"
        return critics_refusal("all", host) if self.critic_strength else None

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = host, rng
        critics = [key for key in host.optimizers if key != host.primary]
        keys = [*[host.primary][: bool(self.strength)], *(critics if self.critic_strength else [])]
        self._memory = self._new_memory(rng)
        for key in keys:
            memory = self._memory if key == host.primary else self._new_memory(rng)
            loss = self._divergence if key == host.primary else self._distance
            self._stored[key] = StoredOutputs(host, key, Examples(host, memory, "encoded"), self.batch_size, loss)

    def _new_memory(self, rng: np.random.Generator) -> Memory:
        return WholeMemory(None, rng) if self.capacity is None else ReservoirMemory(self.capacity, rng)

    def _divergence(self, outputs: Tensor, stored: Tensor) -> Tensor:
        if self._host.kind == "values":
            return self.strength * (outputs - stored).square().mean()
        return self.strength * kl_divergence(stored, outputs, self._host.kind, choices_of(self._host)).mean()

    def _distance(self, outputs: Tensor, stored: Tensor) -> Tensor:
        return self.critic_strength * (outputs - stored).square().sum(1).mean()

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        for stored in self._stored.values():
            stored.store(self.samples, self._rng)

    def forget(self) -> None:
        for stored in self._stored.values():
            stored.memory.clear()

    def state_dict(self) -> dict[str, Any]:
        memories = {key: stored.examples.state_dict() for key, stored in self._stored.items()}
        return {"rng": self._rng.bit_generator.state, "memories": memories}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for key, stored in self._stored.items():
            stored.examples.load_state_dict(state["memories"][key], device_of(self._host))
        self._rng.bit_generator.state = state["rng"]
