"""Maximally interfered retrieval (MIR): rehearsal of the examples whose loss the next update would increase most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
import torch
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.memories.examples import Examples, Stored, check_size, raw_refusal
from rlcl.methods.memories.memory import Memory
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.methods.parts.parameters import device_of, named_parameters
from rlcl.types import Batch, Experience, Host, Method, WeighingHost

__all__ = ["Mir"]


@define(kw_only=True, eq=False)
class Mir(Method):
    """Adds a loss term: the mean loss of the stored examples whose loss a step on the minibatch would increase most.

    The examples are selected among candidates sampled from memory. The trial step is a step of plain gradient descent
    at the optimizer's learning rate, in evaluation mode; the weights are restored afterwards. The memory is a
    reservoir, filled after each update.

    Args:
        capacity: examples in memory, in total. Set this or ``capacity_bytes``.
        capacity_bytes: maximum size of the stored examples, in bytes.
        stored: format of the stored inputs. ``encoded``: inputs are encoded before they are stored. ``raw``: inputs are
            stored in the dtype of the data set and encoded each time they are sampled.
        batch_size: examples rehearsed in each update; 0 disables the method.
        candidates: examples sampled from memory, without replacement, among which the rehearsed ones are selected.

    Source: Aljundi et al. 2019, Online continual learning with maximally interfered retrieval, algorithm 1
    with the score MI-1.
    """

    capacity: int | None = option(None, ge=1)
    capacity_bytes: int | None = option(None, ge=1)
    stored: Stored = option("encoded")
    batch_size: int = option(10, ge=0)
    candidates: int = option(50, ge=1)
    _host: WeighingHost = field(init=False, default=None)
    _examples: Examples = field(init=False, default=None)

    requires = frozenset({"batch", "loss", "native", "weights"})
    phase = "mix"
    reopens = True
    null: ClassVar[Mapping[str, Any] | None] = {"batch_size": 0}
    shares: ClassVar[tuple[float, float]] = (1.0, 1.0)

    def __attrs_post_init__(self) -> None:
        check_size(capacity=self.capacity, capacity_bytes=self.capacity_bytes)

    @property
    def memory(self) -> Memory:
        return self._examples.memory

    def refuses(self, host: Host) -> str | None:
        return raw_refusal(self.stored, host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = cast("WeighingHost", host)
        memory = ReservoirMemory(self.capacity, rng, capacity_bytes=self.capacity_bytes)
        self._examples = Examples(host, memory, self.stored)
        host.optimizers[host.primary].register_step_post_hook(self._record)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        pass

    def extra(self, batch: Batch) -> Batch | None:
        if not self.batch_size or not len(self._examples):
            return None
        candidates = self._examples.sample(self.candidates)
        if len(candidates.inputs) <= self.batch_size:
            return candidates
        rows = self._interference(batch, candidates).topk(self.batch_size).indices
        return Batch(*[None if column is None else column[rows] for column in candidates])  # type: ignore[arg-type]

    def _interference(self, batch: Batch, candidates: Batch) -> Tensor:
        """Compute the increase (B,) of each candidate's loss by a step on the minibatch alone."""
        host = self._host
        optimizer, module = host.optimizers[host.primary], host.modules[host.primary]
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        parameters = list(named_parameters(host, host.primary).values())
        with evaluation_mode(module, gradients=True):
            loss = host.losses(batch).mean()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        steps = [(p, p.detach().clone(), g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
        with evaluation_mode(module):
            before = host.losses(candidates)
            try:
                for p, _, g in steps:
                    p.sub_(g, alpha=float(rates[id(p)]))
                return host.losses(candidates) - before
            finally:
                for p, old, _ in steps:
                    p.copy_(old)

    def _record(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        batch = self._host.batch
        assert batch is not None
        self._examples.insert(batch)

    def forget(self) -> None:
        self.memory.clear()

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self._examples.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._examples.load_state_dict(state["memory"], device_of(self._host))
