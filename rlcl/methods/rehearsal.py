"""Rehearsal of stored examples with every minibatch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from attrs import define, field
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.errors import Problem, UnsupportedError
from rlcl.methods.memories.class_balanced import BalancedMemory
from rlcl.methods.memories.examples import Examples, Stored, check_size, raw_refusal
from rlcl.methods.memories.gss import GssMemory, gradients_of
from rlcl.methods.memories.herding import HerdingMemory
from rlcl.methods.memories.memory import Memory
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.methods.memories.ring import RingMemory
from rlcl.methods.parts.features import features, has_features
from rlcl.methods.parts.mixing import Mixing, loss_shares
from rlcl.methods.parts.parameters import device_of
from rlcl.types import Batch, Experience, Host, Method

__all__ = ["Rehearsal"]

BY_CLASS = ("class_balanced", "ring", "herding")


@define(kw_only=True, eq=False)
class Rehearsal(Method):
    """Loss over the minibatch and over a batch sampled from memory, in one forward pass.

    Exactly one of ``capacity``, ``capacity_bytes`` and ``per_class`` sets the size of the memory.

    Args:
        capacity: examples in memory, in total.
        capacity_bytes: maximum size of the stored examples, in bytes.
        per_class: examples stored of each class seen so far.
        memory: selection of the stored examples: a uniform sample (``reservoir``), a uniform sample of each class
            (``class_balanced``), the latest of each class (``ring``, needs ``per_class``), the examples nearest to
            the mean features of their class (``herding``, filled at the end of an experience), or examples with
            different gradients (``gss``).
        stored: format of the stored inputs. ``encoded``: inputs are encoded before they are stored. ``raw``: inputs are
            stored in the dtype of the data set (a quarter of the memory for 8-bit images), and encoded with the current
            fit of the encoder each time they are sampled.
        compared: stored examples with whose gradients ``gss`` compares the gradient of a new example.
        batch_size: examples sampled for each update; 0 disables the method.
        fill: source of the memory: the ``minibatches``, each after its update, or all of an
            ``experience`` at its end, so that no example of the current experience is rehearsed.
        mixing: combination of the losses: one mean over all examples (``concat``), the ``sum`` of the minibatch's mean
            and the memory's mean, or ``weighted`` by 1/t and 1 - 1/t in the t-th experience. If task ids are
            visible, ``weighted`` samples the same number of examples of each task in memory.

    Source: Chaudhry et al. 2019, On tiny episodic memories in continual learning, algorithm 1;
    ``weighted`` is van de Ven et al. 2022, Three types of incremental learning, Methods.
    """

    capacity: int | None = option(None, ge=1)
    capacity_bytes: int | None = option(None, ge=1)
    per_class: int | None = option(None, ge=1)
    _memory: Literal["reservoir", "class_balanced", "ring", "herding", "gss"] = option("reservoir")
    stored: Stored = option("encoded")
    compared: int = option(10, ge=1)
    batch_size: int = option(32, ge=0)
    fill: Literal["minibatches", "experience"] = option("minibatches")
    mixing: Mixing = option("concat")
    _host: Host = field(init=False, default=None)
    _examples: Examples = field(init=False, default=None)
    _experiences: int = field(init=False, default=0)

    phase = "mix"
    null: ClassVar[Mapping[str, Any] | None] = {"batch_size": 0}

    def __attrs_post_init__(self) -> None:
        check_size(capacity=self.capacity, capacity_bytes=self.capacity_bytes, per_class=self.per_class)
        if self.per_class is not None and self._memory in ("reservoir", "gss"):
            raise Problem(f"{self._memory} ignores classes; set capacity, or memory: class_balanced", "per_class")
        if self._memory == "ring" and self.per_class is None:
            raise Problem("expected an integer: memory: ring stores this many examples of each class", "per_class")
        if self._memory == "herding" and self.fill != "experience":
            raise Problem("herding selects from whole experiences; set fill: experience", "fill")

    @property
    def reopens(self) -> bool:
        """See :class:`rlcl.types.Method`."""
        return self.fill != "experience"

    @property
    def requires(self) -> frozenset[str]:
        boundaries = self.fill == "experience" or self.mixing == "weighted"
        conditional = {
            "boundaries": boundaries,
            "shares": self.mixing != "concat",
            "targets": self._memory in BY_CLASS,
        }
        # The memory takes part in the host's loss, or in its gradients (gss).
        return frozenset({"batch", "loss", "native", *(name for name, needed in conditional.items() if needed)})

    @property
    def memory(self) -> Memory:
        return self._examples.memory

    @property
    def shares(self) -> tuple[float, float] | None:
        """Weights of the mean losses of the minibatch and of the memory batch; None for one mean over all examples."""
        return loss_shares(self.mixing, self._experiences)

    def refuses(self, host: Host) -> str | None:
        if self._memory in BY_CLASS and host.kind == "values":
            return f"memory {self._memory} needs class labels; use reservoir or gss"
        if self._memory == "herding" and not has_features(host.modules[host.primary]):
            return "memory herding needs a network with a linear layer, whose inputs are its features"
        return raw_refusal(self.stored, host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = host
        self._examples = Examples(host, self._new_memory(rng), self.stored)
        if self.fill == "minibatches":
            host.optimizers[host.primary].register_step_post_hook(self._record)

    def _new_memory(self, rng: np.random.Generator) -> Memory:
        host, bytes_ = self._host, self.capacity_bytes
        if self._memory == "class_balanced":
            return BalancedMemory(self.capacity, rng, capacity_bytes=bytes_, per_class=self.per_class)
        if self._memory == "ring":
            assert self.per_class is not None
            return RingMemory(None, rng, per_class=self.per_class)
        if self._memory == "herding":
            return HerdingMemory(
                self.capacity,
                rng,
                capacity_bytes=bytes_,
                per_class=self.per_class,
                features=lambda batch: features(host, self._examples.encoded(batch)),
            )
        if self._memory == "gss":
            return GssMemory(
                self.capacity,
                rng,
                capacity_bytes=bytes_,
                compared=self.compared,
                gradients=lambda batch: gradients_of(host, self._examples.encoded(batch)),
            )
        return ReservoirMemory(self.capacity, rng, capacity_bytes=bytes_)

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._experiences += 1

    def end(self, experience: Experience) -> None:
        if self.fill == "experience":
            self._insert(self._host.sample(None, self.memory.rng))

    def extra(self, batch: Batch) -> Batch | None:
        if not self.batch_size or not len(self._examples) or self.shares == (1.0, 0.0):
            return None
        if self.mixing == "weighted" and batch.task_ids is not None:
            return self._examples.sample_evenly(self.batch_size, "task_ids")
        return self._examples.sample(self.batch_size)

    def _record(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        batch = self._host.batch
        assert batch is not None
        self._insert(batch)

    def _insert(self, batch: Batch) -> None:
        if self._memory in BY_CLASS and (batch.targets is None or batch.targets.is_floating_point()):
            raise UnsupportedError(f"method rehearsal: memory {self._memory} needs class labels; use reservoir or gss")
        self._examples.insert(batch)

    def forget(self) -> None:
        self.memory.clear()

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self._examples.state_dict(), "experiences": self._experiences}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._examples.load_state_dict(state["memory"], device_of(self._host))
        self._experiences = state["experiences"]
