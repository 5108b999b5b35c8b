"""Averaged gradient episodic memory (A-GEM)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.errors import Problem
from rlcl.methods.memories.examples import Examples, Stored, check_size, raw_refusal
from rlcl.methods.memories.memory import Memory, WholeMemory
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.methods.parts.parameters import device_of, named_parameters
from rlcl.types import Experience, Host, Method

__all__ = ["AGem", "project"]


@define(kw_only=True, eq=False)
class AGem(Method):
    """Projection of each gradient that would increase the loss on a batch sampled from memory.

    The projection acts on the whole gradient, including the penalties that other methods have added.

    Exactly one of ``capacity``, ``capacity_bytes`` and ``per_experience`` sets the size of the memory.

    Args:
        capacity: examples in memory, in total: a uniform sample of all examples offered.
        capacity_bytes: maximum size of the stored examples, in bytes.
        per_experience: examples stored of each experience, sampled at its end (all examples if there are fewer).
        stored: format of the stored inputs. ``encoded``: inputs are encoded before they are stored. ``raw``: inputs are
            stored in the dtype of the data set and encoded each time they are sampled.
        batch_size: examples sampled for each update to compute the reference gradient; 0 disables the method.
        fill: source of the memory: all of an ``experience`` at its end, so that the reference covers past
            experiences only, or the ``minibatches``, which needs no boundaries (A-GEM-R of Buzzega et al. 2020).

    Source: Chaudhry et al. 2019, Efficient lifelong learning with A-GEM, eq. 11 and algorithm 1.
    """

    capacity: int | None = option(None, ge=1)
    capacity_bytes: int | None = option(None, ge=1)
    per_experience: int | None = option(None, ge=1)
    stored: Stored = option("encoded")
    batch_size: int = option(64, ge=0)
    fill: Literal["experience", "minibatches"] = option("experience")
    _host: Host = field(init=False, default=None)
    _examples: Examples = field(init=False, default=None)
    _projections: int = field(init=False, default=0)

    phase = "project"
    null: ClassVar[Mapping[str, Any] | None] = {"batch_size": 0}

    def __attrs_post_init__(self) -> None:
        check_size(capacity=self.capacity, capacity_bytes=self.capacity_bytes, per_experience=self.per_experience)
        if self.per_experience is not None and self.fill != "experience":
            raise Problem("minibatches do not state their experience; set fill: experience", "fill")

    @property
    def reopens(self) -> bool:
        """See :class:`rlcl.types.Method`."""
        return self.fill != "experience"

    @property
    def stores_at_end(self) -> bool:
        """See :class:`rlcl.types.Method`."""
        return self.fill == "experience"

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"loss", "boundaries" if self.fill == "experience" else "batch"})

    @property
    def memory(self) -> Memory:
        return self._examples.memory

    def refuses(self, host: Host) -> str | None:
        return raw_refusal(self.stored, host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._projections = host, 0
        self._examples = Examples(host, self._new_memory(rng), self.stored)
        optimizer = host.optimizers[host.primary]
        optimizer.register_step_pre_hook(self._project)
        if self.fill == "minibatches":
            optimizer.register_step_post_hook(self._record)

    def _new_memory(self, rng: np.random.Generator) -> Memory:
        if self.per_experience is not None:
            return WholeMemory(None, rng)
        return ReservoirMemory(self.capacity, rng, capacity_bytes=self.capacity_bytes)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        if self.fill == "experience":
            self._examples.insert(self._host.sample(self.per_experience, self.memory.rng))

    def _project(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        host = self._host
        if not self.batch_size or not len(self._examples) or host.loss is None:
            return
        parameters = list(named_parameters(host, host.primary).values())
        loss = host.loss(self._examples.sample(self.batch_size))
        references = torch.autograd.grad(loss, parameters, allow_unused=True)
        self._projections += project([(p, r) for p, r in zip(parameters, references, strict=True) if r is not None])

    def _record(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        batch = self._host.batch
        assert batch is not None
        self._examples.insert(batch)

    def forget(self) -> None:
        self.memory.clear()

    def quantities(self) -> Mapping[str, float]:
        """See :class:`rlcl.types.Method`; projections are counted since the first update."""
        return {**Method.quantities(self), "projections": self._projections}

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self._examples.state_dict(), "projections": self._projections}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._examples.load_state_dict(state["memory"], device_of(self._host))
        self._projections = state.get("projections", 0)  # absent from older checkpoints


def project(pairs: Sequence[tuple[nn.Parameter, Tensor]]) -> bool:
    """Project gradients, in place, onto the nearest ones whose dot product with their references is not negative.

    A gradient that is None counts as 0. It stays None if no projection is needed.

    Args:
        pairs: parameters and their reference gradients, of the same shapes.

    Returns:
        Whether the gradients were changed.

    Source: Chaudhry et al. 2019, eq. 11.
    """
    product = _dot([(p.grad, r) for p, r in pairs if p.grad is not None])
    if product >= 0:
        return False
    references = [r for _, r in pairs]
    for parameter, _ in pairs:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    factor = -product / _dot([(r, r) for r in references])
    torch._foreach_add_([p.grad for p, _ in pairs if p.grad is not None], references, alpha=factor)
    return True


def _dot(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    return float(sum(torch.dot(a.flatten(), b.flatten()) for a, b in pairs))
