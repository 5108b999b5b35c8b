"""Dark experience replay: replay of stored inputs with the outputs of the network at storage time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
import torch
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.attach import join_batches
from rlcl.methods.memories.examples import Examples, Stored, check_size, raw_refusal
from rlcl.methods.memories.memory import Memory
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.methods.parts.parameters import add_gradients_of, device_of, named_parameters
from rlcl.types import Batch, Experience, Host, Method, WeighingHost

__all__ = ["Der", "DerPlusPlus"]


@define(kw_only=True, eq=False)
class DarkReplay(Method):
    """Base class of ``der`` and ``der_plus_plus``, with a reservoir memory and up to two terms of the loss.

    The memory stores inputs, targets and outputs. One memory batch is sampled for each term. If the host's loss
    supports example weights, the memory batches are concatenated with the minibatch, and the outputs of the shared
    forward pass are stored. Otherwise the gradients of the terms are added before the optimizer's step, and the stored
    outputs come from a separate forward pass, without dropout.
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
        """The weight of the loss on stored targets."""

    @property
    def memory(self) -> Memory:
        return self._examples.memory

    @property
    def _single_pass(self) -> bool:
        return "weights" in self._host.provides

    def refuses(self, host: Host) -> str | None:
        return raw_refusal(self.stored, host)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = host
        memory = ReservoirMemory(self.capacity, rng, capacity_bytes=self.capacity_bytes)
        self._examples = Examples(host, memory, self.stored)
        if not self._single_pass:
            host.optimizers[host.primary].register_step_pre_hook(self._add)
        host.optimizers[host.primary].register_step_post_hook(self._record)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        pass

    def extra(self, batch: Batch) -> Batch | None:
        """Return memory batches whose weights form the two terms, each a mean over its own batch."""
        if not self._single_pass or not len(self._examples):
            return None
        terms = []
        if self.alpha:
            replayed = self._examples.sample(self.batch_size)
            alphas = replayed.inputs.new_full((len(replayed.inputs),), self.alpha)
            terms.append(replayed._replace(weights=torch.zeros_like(alphas), distillation_weights=alphas))
        if self.label_factor:
            replayed = self._examples.sample(self.batch_size)
            weights = replayed.inputs.new_full((len(replayed.inputs),), self.label_factor)
            terms.append(replayed._replace(weights=weights, outputs=None))
        if not terms:
            return None
        return terms[0] if len(terms) == 1 else join_batches(terms[0], terms[1], (1.0, 1.0))

    def _add(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        host = self._host
        assert host.batch is not None
        with evaluation_mode(host.modules[host.primary]):
            self._outputs = host.outputs(host.batch.inputs, host.batch.task_ids)
        if not len(self._examples):
            return
        if self.alpha:
            replayed = self._examples.sample(self.batch_size)
            assert replayed.outputs is not None
            distance = (host.outputs(replayed.inputs, replayed.task_ids) - replayed.outputs).square().mean()
            add_gradients_of(self.alpha * distance, named_parameters(host, host.primary))
        if self.label_factor:
            assert host.loss is not None
            replayed = self._examples.sample(self.batch_size)._replace(outputs=None)
            add_gradients_of(self.label_factor * host.loss(replayed), named_parameters(host, host.primary))

    def _record(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        batch = self._host.batch
        assert batch is not None
        outputs = cast("WeighingHost", self._host).given if self._single_pass else self._outputs
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
    """Adds a loss term: ``alpha`` times the mean squared error between current and stored outputs on a memory batch.

    The memory is a reservoir: each example of a minibatch is a candidate for storage after the update. It is stored
    without augmentation, together with the outputs of the network in this update.

    Args:
        alpha: weight of this term, whose squared error is averaged over examples and outputs; 0 disables the method.
        capacity: examples in memory, in total. Set this or ``capacity_bytes``.
        capacity_bytes: maximum size of the stored examples, in bytes.
        stored: format of the stored inputs. ``encoded``: inputs are encoded before they are stored. ``raw``: inputs are
            stored in the dtype of the data set and encoded each time they are sampled.
        batch_size: examples sampled for each update, without replacement.

    Source: Buzzega et al. 2020, Dark experience for general continual learning, eq. 6.
    """

    requires = frozenset({"batch"})
    null: ClassVar[Mapping[str, Any] | None] = {"alpha": 0.0}

    @property
    def label_factor(self) -> float:
        return 0.0


@define(kw_only=True, eq=False)
class DerPlusPlus(DarkReplay):
    """Adds two loss terms: that of ``der``, and ``beta`` times the learner's loss on a second memory batch.

    The second batch is sampled independently of the first.

    Args:
        alpha: weight of the term of ``der``.
        beta: weight of the loss on stored targets. The method is disabled if ``alpha`` and ``beta`` are both 0.
        capacity: examples in memory, in total. Set this or ``capacity_bytes``.
        capacity_bytes: maximum size of the stored examples, in bytes.
        stored: format of the stored inputs. ``encoded``: inputs are encoded before they are stored. ``raw``: inputs are
            stored in the dtype of the data set and encoded each time they are sampled.
        batch_size: examples sampled for each update and term, without replacement.

    Source: Buzzega et al. 2020, Dark experience for general continual learning, eq. 7.
    """

    beta: float = option(0.5, ge=0)

    requires = frozenset({"batch", "targets", "loss"})
    null: ClassVar[Mapping[str, Any] | None] = {"alpha": 0.0, "beta": 0.0}

    @property
    def label_factor(self) -> float:
        return self.beta
