"""Dark experience replay: old inputs keep the outputs that the network gave when they were learned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
import torch
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.attach import joined
from rlcl.methods.memories.examples import Examples, Stored, check_size, raw_refusal
from rlcl.methods.memories.memory import Memory
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.methods.parts.modes import evaluating
from rlcl.methods.parts.parameters import add_gradients_of, device_of, named_parameters
from rlcl.types import Batch, Experience, Host, WeighingHost

__all__ = ["Der", "DerPlusPlus"]


@define(kw_only=True, eq=False)
class DarkReplay(ABC):
    """A reservoir of inputs with targets and outputs, and the two terms that are added to the loss.

    Where the host's loss can weigh examples, both memory batches join the minibatch in one pass, and the
    outputs that are stored are those of that pass. Elsewhere their gradients are added before the step,
    and the outputs come from a pass of their own, without dropout.
    """

    alpha: float = option(0.5, ge=0)
    capacity: int | None = option(None, ge=1)
    capacity_bytes: int | None = option(None, ge=1)
    stored: Stored = option("encoded")
    batch_size: int = option(32, ge=1)
    _host: Host = field(init=False, default=None)
    _examples: Examples = field(init=False, default=None)
    _outputs: Tensor | None = field(init=False, default=None)

    phase = "mix"
    reopens = True
    kinds = frozenset({"categorical", "values", "reconstruction"})
    shares: ClassVar[tuple[float, float]] = (1.0, 1.0)

    def __attrs_post_init__(self) -> None:
        check_size(capacity=self.capacity, capacity_bytes=self.capacity_bytes)

    @property
    @abstractmethod
    def label_factor(self) -> float:
        """Factor of the loss on stored targets."""

    @property
    def memory(self) -> Memory:
        return self._examples.memory

    @property
    def _in_one_pass(self) -> bool:
        return "weights" in self._host.provides

    def refuses(self, host: Host) -> str | None:
        return raw_refusal(self.stored, host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = host
        memory = ReservoirMemory(self.capacity, rng, capacity_bytes=self.capacity_bytes)
        self._examples = Examples(host, memory, self.stored)
        if not self._in_one_pass:
            host.optimizers[host.primary].register_step_pre_hook(self._add)
        host.optimizers[host.primary].register_step_post_hook(self._record)

    def begin(self, experience: Experience, updates: int | None) -> None:  # noqa: B027, it needs no boundaries
        pass

    def end(self, experience: Experience) -> None:  # noqa: B027
        pass

    def extra(self, batch: Batch) -> Batch | None:
        """Memory batches whose weights and pulls make up the terms, each the mean over its own examples."""
        if not self._in_one_pass or not len(self._examples):
            return None
        terms = []
        if self.alpha:
            drawn = self._examples.draw(self.batch_size)
            pulls = drawn.inputs.new_full((len(drawn.inputs),), self.alpha)
            terms.append(drawn._replace(weights=torch.zeros_like(pulls), pulls=pulls))
        if self.label_factor:
            drawn = self._examples.draw(self.batch_size)
            weights = drawn.inputs.new_full((len(drawn.inputs),), self.label_factor)
            terms.append(drawn._replace(weights=weights, outputs=None))
        if not terms:
            return None
        return terms[0] if len(terms) == 1 else joined(terms[0], terms[1], (1.0, 1.0))

    def _add(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        host = self._host
        assert host.batch is not None
        with evaluating(host.modules[host.primary]):
            self._outputs = host.outputs(host.batch.inputs, host.batch.task_ids)
        if not len(self._examples):
            return
        if self.alpha:
            drawn = self._examples.draw(self.batch_size)
            assert drawn.outputs is not None
            distance = (host.outputs(drawn.inputs, drawn.task_ids) - drawn.outputs).square().mean()
            add_gradients_of(self.alpha * distance, named_parameters(host, host.primary))
        if self.label_factor:
            assert host.loss is not None
            drawn = self._examples.draw(self.batch_size)._replace(outputs=None)
            add_gradients_of(self.label_factor * host.loss(drawn), named_parameters(host, host.primary))

    def _record(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        batch = self._host.batch
        assert batch is not None
        outputs = cast("WeighingHost", self._host).given if self._in_one_pass else self._outputs
        self._outputs = None
        self._examples.insert(batch._replace(outputs=outputs))

    def forget(self) -> None:
        self.memory.clear()

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self._examples.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._examples.load_state_dict(state["memory"], device_of(self._host))


@define(kw_only=True, eq=False)
class Der(DarkReplay):
    """Adds ``alpha`` times the mean squared distance to the outputs stored with a memory batch.

    The memory is a reservoir. An example is offered to it after the update that it served, as it was before
    any augmentation, with the outputs that the network gave in that update.

    Args:
        alpha: factor of the distance, a mean over examples and outputs; 0 equals no method.
        capacity: examples kept, in all; or
        capacity_bytes: what they take at most, in bytes, as they are stored.
        stored: inputs as they were ``encoded`` when met, or ``raw``, of the source's dtype and encoded when drawn.
        batch_size: examples drawn for each update, without replacement.

    Source: Buzzega et al. 2020, Dark experience for general continual learning, eq. 6.
    """

    requires = frozenset({"batch"})
    null: ClassVar[Mapping[str, Any] | None] = {"alpha": 0.0}

    @property
    def label_factor(self) -> float:
        return 0.0


@define(kw_only=True, eq=False)
class DerPlusPlus(DarkReplay):
    """Adds what ``der`` adds, and ``beta`` times the learner's own loss on a second memory batch.

    The second batch is drawn independently of the first.

    Args:
        alpha: factor of the distance to the stored outputs, a mean over examples and outputs.
        beta: factor of the loss on stored targets; with ``alpha`` 0 as well it equals no method.
        capacity: examples kept, in all; or
        capacity_bytes: what they take at most, in bytes, as they are stored.
        stored: inputs as they were ``encoded`` when met, or ``raw``, of the source's dtype and encoded when drawn.
        batch_size: examples drawn for each update and term, without replacement.

    Source: Buzzega et al. 2020, Dark experience for general continual learning, eq. 7.
    """

    beta: float = option(0.5, ge=0)

    requires = frozenset({"batch", "targets", "loss"})
    null: ClassVar[Mapping[str, Any] | None] = {"alpha": 0.0, "beta": 0.0}

    @property
    def label_factor(self) -> float:
        return self.beta
