"""Rehearsal: a memory of old examples joins every minibatch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from attrs import define, field
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.memory import ReservoirMemory
from rlcl.methods.parameters import device_of
from rlcl.types import Batch, Experience, Host

__all__ = ["Rehearsal"]

EVERYTHING = 2**62


@define(kw_only=True, eq=False)
class Rehearsal:
    """Minimises one mean loss over the minibatch and a batch drawn from memory, in one pass.

    Args:
        capacity: examples kept, in all.
        batch_size: examples drawn for each update; 0 equals no method.
        fill: from the ``minibatches``, each after the update that it served, or from all of an
            ``experience`` at its end, so that nothing of the present one is rehearsed.

    Source: Chaudhry et al. 2019, On tiny episodic memories in continual learning, algorithm 1.
    """

    capacity: int = option(ge=1, help="examples kept, in all")
    batch_size: int = option(32, ge=0, help="examples drawn for each update")
    fill: Literal["minibatches", "experience"] = option("minibatches", help="from each, or at the experience's end")
    _host: Host = field(init=False, default=None)
    _memory: ReservoirMemory = field(init=False, default=None)

    phase = "mix"
    null: ClassVar[Mapping[str, Any] | None] = {"batch_size": 0}

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"batch", "native"} | ({"boundaries"} if self.fill == "experience" else set()))

    @property
    def memory(self) -> ReservoirMemory:
        return self._memory

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = host
        self._memory = ReservoirMemory(self.capacity, rng)
        if self.fill == "minibatches":
            host.optimizers[host.primary].register_step_post_hook(self._record)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        if self.fill == "experience":
            self._insert(self._host.sample(EVERYTHING, self._memory.rng))

    def extra(self, batch: Batch) -> Batch | None:
        if not self.batch_size or not len(self._memory):
            return None
        return Batch(**self._memory.draw(self.batch_size))

    def _record(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        batch = self._host.batch
        assert batch is not None
        self._insert(batch)

    def _insert(self, batch: Batch) -> None:
        self._memory.insert(inputs=batch.inputs, targets=batch.targets, task_ids=batch.task_ids)

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self._memory.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._memory.load_state_dict(state["memory"], device_of(self._host))
