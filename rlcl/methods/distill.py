"""Distillation of the stored outputs of past experiences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.methods.memories.examples import Examples, Stored, check_size, raw_refusal
from rlcl.methods.memories.memory import Memory
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.methods.parts.divergence import kl_divergence
from rlcl.methods.parts.parameters import device_of
from rlcl.methods.parts.stored_outputs import StoredOutputs
from rlcl.types import Experience, Host, Method

__all__ = ["Distill", "distillation_loss"]

DEFAULT_CAPACITY = 1000


@define(kw_only=True, eq=False)
class Distill(Method):
    """Adds a loss term: ``strength`` times the distance to stored outputs on stored inputs of past experiences.

    At the end of an experience, a sample of its inputs is stored with the network's outputs. The method
    needs neither targets nor the loss. It therefore also supports policies and value functions.

    Args:
        strength: weight of the distance to the stored outputs; 0 disables the method.
        capacity: inputs in memory, in total: a uniform sample of the inputs that the experiences offer. Defaults to
            1000 if ``capacity_bytes`` is not set.
        capacity_bytes: maximum size of the stored inputs and outputs, in bytes.
        stored: format of the stored inputs. ``encoded``: inputs are encoded before they are stored. ``raw``: inputs are
            stored in the dtype of the data set and encoded each time they are sampled.
        samples: inputs that each experience offers.
        batch_size: stored inputs sampled for each update.

    Source: the distance between logits is Buzzega et al. 2020, eq. 5; for policies and values
    Rusu et al. 2016, Policy distillation, eqs. 2 and 3, and Rolnick et al. 2019 (CLEAR), eq. 1.
    """

    strength: float = option(1.0, ge=0)
    capacity: int | None = option(None, ge=1)
    capacity_bytes: int | None = option(None, ge=1)
    stored: Stored = option("encoded")
    samples: int = option(500, ge=1)
    batch_size: int = option(32, ge=1)
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _stored: StoredOutputs = field(init=False, default=None)

    requires = frozenset({"boundaries"})
    phase = "add"
    stores_at_end = True
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}
    kinds = frozenset({"categorical", "multi_categorical", "gaussian", "values", "reconstruction"})

    def __attrs_post_init__(self) -> None:
        if self.capacity is not None:
            check_size(capacity=self.capacity, capacity_bytes=self.capacity_bytes)

    @property
    def memory(self) -> Memory:
        return self._stored.memory

    def refuses(self, host: Host) -> str | None:
        return raw_refusal(self.stored, host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = host, rng
        capacity = DEFAULT_CAPACITY if self.capacity is None and self.capacity_bytes is None else self.capacity
        memory = ReservoirMemory(capacity, rng, capacity_bytes=self.capacity_bytes)
        examples = Examples(host, memory, self.stored)
        self._stored = StoredOutputs(host, host.primary, examples, self.batch_size, self._distance)

    def _distance(self, outputs: Tensor, stored: Tensor) -> Tensor:
        return self.strength * distillation_loss(outputs, stored, self._host.kind)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        if self.strength:
            self._stored.store(self.samples, self._rng)

    def forget(self) -> None:
        self.memory.clear()

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self._stored.examples.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._stored.examples.load_state_dict(state["memory"], device_of(self._host))


def distillation_loss(outputs: Tensor, stored: Tensor, kind: str) -> Tensor:
    """Compute the mean distance between outputs (B, K) and stored outputs (B, K), a scalar.

    The distance is the squared distance. For policies over continuous actions it is the divergence
    KL(stored || current) of the two Gaussians, summed over actions. The divergence gives a deviation of the
    mean a higher weight if the stored policy had a low variance.

    Args:
        outputs: (B, K) of the current network.
        stored: (B, K) outputs at storage time.
        kind: see :attr:`rlcl.types.Host.kind`.
    """
    if kind != "gaussian":
        return (outputs - stored).square().mean()
    return kl_divergence(stored, outputs, kind).mean()
