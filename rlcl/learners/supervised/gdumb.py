"""GDumb: a baseline that trains a network from scratch on a class-balanced memory."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any

import attrs
import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define, field
from torch import Tensor, nn

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.learners.inference_graphs import class_outputs
from rlcl.learners.minibatches import ROWS_AT_ONCE
from rlcl.learners.one_pass import OnePassLearner
from rlcl.learners.online_score import count_trainable
from rlcl.learners.optimizers import Sgd
from rlcl.learners.shuffle import Shuffle
from rlcl.learners.update import Update
from rlcl.methods.memories.class_balanced import GreedyMemory
from rlcl.methods.memories.examples import Examples, Stored, check_size
from rlcl.methods.memories.memory import Memory
from rlcl.networks.check_forward import check_forward
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.state import tensor_bytes
from rlcl.types import Batch, Costs, Graph, Network, OptimizerFactory, Schedule, Setup

__all__ = ["GDumb"]

logger = logging.getLogger(__name__)


@define(kw_only=True, eq=False)
class GDumb(OnePassLearner):
    """Classifier that fills a class-balanced memory in one pass and trains a new network on it after each experience.

    It predicts among the classes in its memory, or among the classes of the task if the learner receives the task id.
    Until the first experience ends, it predicts with random weights. A step is a minibatch of the stream, not an update
    of the network.

    Args:
        capacity: total number of stored examples; or
        capacity_bytes: maximum size of the stored examples in bytes.
        stored: format of the stored inputs. ``encoded``: inputs are encoded before they are stored. ``raw``: inputs are
            stored in the dtype of the data set and encoded each time they are sampled.
        network: network architecture.
        optimizer: torch optimizer.
        schedule: learning-rate schedule, which multiplies the learning rate by a factor that depends on the completed
            fraction of each training of a network; constant by default.
        epochs: passes over the memory in each training of a network.
        training_batch_size: examples from the memory in each update.
        batch_size: samples of the stream in a minibatch.

    Source: Prabhu et al. 2020, GDumb: a simple approach that questions our progress in continual learning.
    The original also uses CutMix.
    """

    capacity: int | None = option(None, ge=1)
    capacity_bytes: int | None = option(None, ge=1)
    stored: Stored = option("encoded")
    network: Network = option(factory=Mlp)
    optimizer: OptimizerFactory = option(factory=Sgd)
    schedule: Schedule | None = option(None)
    epochs: int = option(30, ge=1)
    training_batch_size: int = option(16, ge=1)

    module: nn.Module = field(init=False, default=None)
    _examples: Examples = field(init=False, default=None)
    _shape: tuple[int, ...] = field(init=False, default=())
    _known: Tensor = field(init=False, default=None)
    _updates: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        check_size(capacity=self.capacity, capacity_bytes=self.capacity_bytes)

    @property
    def measures(self) -> tuple[str, ...]:
        return ("accuracy",)

    needs = frozenset({"labelled"})
    grows = True

    @property
    def memory(self) -> Memory:
        return self._examples.memory

    def start(self, setup: Setup, features: int) -> None:
        self._shape = setup.encoder.shape(setup.spec.observation_shape)
        rng = setup.seeds.child("memory").numpy()
        memory = GreedyMemory(self.capacity, rng, capacity_bytes=self.capacity_bytes)
        self._examples = Examples(self, memory, self.stored)
        self._known = torch.zeros(setup.spec.classes, dtype=torch.bool, device=setup.device)
        if self.capacity is not None and self.capacity < setup.spec.classes:
            logger.warning(
                "learner.capacity: %d examples for %d classes: classes without an example are not predicted",
                self.capacity,
                setup.spec.classes,
            )
        self.module = self._new_module(setup.seeds)
        check_forward(self.module, self.network, self._shape, setup.spec.classes, False)

    def _new_module(self, seeds: Seeds) -> nn.Module:
        """Return a module with random weights."""
        setup = self._setup
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.child("weights").integer())
            return self.network.build(self._shape, setup.spec.classes, 1).to(setup.device)

    def observe(self, x: Tensor, y: Tensor | None) -> Mapping[str, float]:
        assert y is not None
        y = y.to(x.device)
        self._examples.insert(Batch(x.view(-1, *self._shape), y))
        self._known[y] = True
        return {"examples": float(len(self._examples))}

    def finish(self) -> Mapping[str, float]:
        """Train a new network on the memory; all random numbers derive from the memory's generator, which is saved."""
        setup, seeds = self._setup, Seeds(int(self.memory.rng.integers(2**31)))
        self.module = self._new_module(seeds)
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        optimizer = self.optimizer.build(parameters)
        update = Update(optimizer, self.module, 1, None, "float32", self.schedule, None, setup.device)
        size = len(self._examples)
        updates = self.epochs * -(-size // self.training_batch_size)
        self._updates += updates
        self._known.zero_()
        self._known[self._examples.contents().targets] = True
        order = Shuffle(seeds.child("order").torch())
        loss = torch.zeros(())
        with torch.random.fork_rng(devices=[]):  # dropout
            torch.manual_seed(seeds.child("dropout").integer())
            for index, rows in enumerate(order.batches(size, self.training_batch_size, False, updates, setup.device)):
                update.set_learning_rate(index, updates)
                loss = update(self._loss, self._examples.at(rows))
        return {"loss": float(loss)}

    def _loss(self, batch: Batch) -> Tensor:
        assert batch.targets is not None
        return F.cross_entropy(self.module(batch.inputs), batch.targets)

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        if tasks:
            raise UnsupportedError("the possible classes depend on the task; set stream.visibility.task_ids: hidden")
        module = GDumbModule(self)
        return Graph(kind="classifier", module=module, encoded=lambda *arrays: self.encoded(arrays[0]))

    def grown(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`rlcl.types.Exportable`; the weights are random, as each experience ends with a new network."""
        statistics = state["statistics"]
        known = torch.zeros_like(self._known)
        known[: len(statistics["known"])] = statistics["known"]
        return {**state, "statistics": {**statistics, "module": dict(self.module.state_dict()), "known": known}}

    def costs(self) -> Costs:
        """See :class:`rlcl.types.Spending`."""
        return attrs.evolve(
            super().costs(),
            parameters=count_trainable([self.module]),
            memory_bytes=tensor_bytes(self._examples.state_dict()),
            updates=self._updates,
        )

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """Predict classes (B,) int64 for raw inputs (B, *observation)."""
        possible = self._known
        if task_id is not None:
            possible = torch.zeros_like(possible)
            possible[list(self._setup.spec.task_classes[task_id])] = True
        training = self.module.training
        self.module.eval()
        with torch.no_grad():
            parts = torch.split(self.features(x, task_id), ROWS_AT_ONCE)
            logits = torch.cat([self.module(part.view(-1, *self._shape)) for part in parts])
        self.module.train(training)
        return logits.masked_fill(~possible, -torch.inf).argmax(1).cpu(), None

    def statistics(self) -> dict[str, Any]:
        return {
            "module": dict(self.module.state_dict()),
            "memory": self._examples.state_dict(),
            "known": self._known,
            "updates": self._updates,
        }

    def load_statistics(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self._examples.load_state_dict(state["memory"], self._setup.device)
        self._known = state["known"].to(self._setup.device)
        self._updates = state["updates"]


class GDumbModule(nn.Module):
    """The trained network as an inference module that predicts among the classes in the memory.

    See :class:`rlcl.types.Graph`.
    """

    def __init__(self, learner: GDumb) -> None:
        super().__init__()
        self.network = copy.deepcopy(learner.module).eval()
        self._learner = learner
        self.known: Tensor
        self.register_buffer("known", learner.statistics()["known"])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        logits = self.network(self._learner.encoded(x))
        return class_outputs(logits.masked_fill(~self.known, -torch.inf))
