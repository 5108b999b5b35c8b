"""iCaRL: exemplars by herding, distillation, and prediction by the nearest mean of exemplars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define, field
from torch import Tensor, nn
from torch.func import functional_call

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.learners.gradient import GradientLearner
from rlcl.methods.memories.examples import Examples, Stored, check_size
from rlcl.methods.memories.herding import HerdingMemory
from rlcl.methods.memories.memory import Memory
from rlcl.methods.parts.features import features
from rlcl.methods.parts.modes import evaluating
from rlcl.methods.parts.parameters import device_of
from rlcl.types import Batch, Experience, Graph, Host, Method, Setup

__all__ = ["ICarl", "icarl_loss"]


@define(kw_only=True, eq=False)
class Exemplars(Method):
    """What iCaRL keeps: exemplars, and the network of the last boundary with the classes that it knew.

    Args:
        capacity, capacity_bytes, stored: see :class:`ICarl`.
        batch_size: exemplars that join each minibatch.
    """

    capacity: int | None
    capacity_bytes: int | None
    stored: Stored
    batch_size: int
    teacher: dict[str, Tensor] = field(init=False, factory=dict)
    known: list[int] = field(init=False, factory=list)
    _host: Host = field(init=False, default=None)
    _examples: Examples = field(init=False, default=None)

    requires = frozenset({"batch", "targets", "boundaries", "native"})
    phase = "mix"
    null: ClassVar[Mapping[str, Any] | None] = None

    @property
    def examples(self) -> Examples:
        return self._examples

    @property
    def memory(self) -> Memory:
        return self._examples.memory

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = host
        memory = HerdingMemory(
            self.capacity,
            rng,
            capacity_bytes=self.capacity_bytes,
            features=lambda batch: features(host, self._examples.encoded(batch)),
        )
        self._examples = Examples(host, memory, self.stored)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        batch, module = self._host.sample(None, self.memory.rng), self._host.modules[self._host.primary]
        assert batch.targets is not None
        self._examples.insert(batch._replace(task_ids=None))
        self.known = sorted({*self.known, *batch.targets.tolist()})
        self.teacher = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    def extra(self, batch: Batch) -> Batch | None:
        return self._examples.draw(self.batch_size) if len(self._examples) else None

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self._examples.state_dict(), "teacher": dict(self.teacher), "known": list(self.known)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        device = device_of(self._host)
        self._examples.load_state_dict(state["memory"], device)
        self.teacher = {name: tensor.to(device) for name, tensor in state["teacher"].items()}
        self.known = list(state["known"])


@define(kw_only=True, eq=False)
class ICarl(GradientLearner):
    """Learns features from new data and exemplars, and predicts the class whose exemplars' mean feature is nearest.

    Each class has an output of its own: those of former classes keep what the network of the last boundary
    says, those of new ones tell their class. Exemplars join every minibatch, where the paper trains on the
    union of exemplars and new data. Until its experience ends, a class has no exemplars and is not predicted; before
    the first boundary the greatest output decides.

    Args:
        capacity: exemplars kept, in all, shared by the classes seen so far, at least one for each; or
        capacity_bytes: what they take at most, in bytes, as they are stored.
        stored: inputs as they were ``encoded`` when met, or ``raw``, of the source's dtype and encoded when drawn.
        memory_batch_size: exemplars that join each minibatch.
        network: builds the torch module; features are what its last linear layer reads, at length 1.
        optimizer: builds the torch optimizer, kept through all experiences.
        batch_size: samples in a minibatch; the last one of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is left out.
        augment: random changes of training inputs, in the order in which they are applied.
        methods: continual-learning methods; they run in the order of their phases.

    Source: Rebuffi et al. 2017, iCaRL: incremental classifier and representation learning, algorithms 1 to 5.
    """

    capacity: int | None = option(None, ge=1)
    capacity_bytes: int | None = option(None, ge=1)
    stored: Stored = option("encoded")
    memory_batch_size: int = option(32, ge=1)

    _exemplars: Exemplars = field(init=False, default=None)
    _new: list[int] = field(init=False, factory=list)
    _means: tuple[tuple[int, list[tuple[int, int]]], Tensor] | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        check_size(capacity=self.capacity, capacity_bytes=self.capacity_bytes)

    @property
    def kind(self) -> str:
        return "categorical"

    @property
    def measures(self) -> tuple[str, ...]:
        return ("accuracy",)

    needs = frozenset({"labelled"})

    @property
    def memory(self) -> Memory:
        return self._exemplars.memory

    @property
    def own_methods(self) -> tuple[Method, ...]:
        return (self._exemplars,)

    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        self._check_capacity(setup, shape)
        self._exemplars = Exemplars(
            capacity=self.capacity,
            capacity_bytes=self.capacity_bytes,
            stored=self.stored,
            batch_size=self.memory_batch_size,
        )
        return self.built(self.network, shape, setup.spec.classes)

    def _check_capacity(self, setup: Setup, shape: tuple[int, ...]) -> None:
        """Raises UnsupportedError where some class would have no exemplar, and so no mean to be predicted by."""
        classes = setup.spec.classes
        if self.capacity is not None:
            key, given, needed = "capacity", self.capacity, classes
        else:
            assert self.capacity_bytes is not None
            key, given, needed = (
                "capacity_bytes",
                self.capacity_bytes,
                classes * _stored_bytes(setup, shape, self.stored),
            )
        if given >= needed:
            return
        raise UnsupportedError(
            f"learner.{key}: expected at least {needed:,}, an exemplar of each of the {classes} classes of this "
            f"stream, by which icarl predicts, got {given:,}"
        )

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """(B, classes) logits, each class's own, for (B, *encoded) inputs."""
        logits: Tensor = self.module(x)
        return logits

    def targets(self, part: Experience, y: Tensor) -> Tensor:
        self._new = sorted(set(y.tolist()) - set(self._exemplars.known))
        return y

    def loss(self, batch: Batch) -> Tensor:
        assert batch.targets is not None
        old, teacher = self._exemplars.known, None
        x = self.augmented(batch.inputs)
        logits = self.outputs(x)
        if old:  # what the former network says of the very inputs that this one sees
            with evaluating(self.module):
                teacher = functional_call(self.module, self._exemplars.teacher, (x,))
        return icarl_loss(logits, teacher, batch.targets, old, self._new)

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """(B,) int64 classes for raw inputs (B, *observation); of one task where its id is shown."""
        own = self._setup.spec.task_classes[task_id] if task_id is not None else range(self._setup.spec.classes)
        with self.predicting(task_id):
            held = self._labels()
            labels = [label for label in held if label in own]
            if not labels:
                scores = torch.cat([self.outputs(part) for part, _ in self.chunks(x, None)])
                labels = list(own)
                return torch.tensor(labels)[scores[:, labels].argmax(1).cpu()], None
            means = self._class_means()[[held.index(label) for label in labels]]
            found = [torch.cdist(features(self.host, Batch(part)), means).argmin(1) for part, _ in self.chunks(x, None)]
            return torch.tensor(labels)[torch.cat(found).cpu()], None

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        raise UnsupportedError(
            "it predicts by the means of its exemplars, which serving would have to hold; use classifier with rehearsal"
        )

    def _labels(self) -> list[int]:
        """The classes that have exemplars, which may be deleted from what it remembers."""
        columns = self.memory.held()
        return sorted(set(columns["targets"].tolist())) if columns else []

    def _class_means(self) -> Tensor:
        """(labels, D) mean features of each class's exemplars, at length 1, by the present weights."""
        # A weight's version counts a loaded state, but not the steps of torch's fused optimizers.
        weights = [(id(p), p._version) for p in self.module.parameters()]
        if self._means is None or self._means[0] != (self.position.step, weights):
            held = self._exemplars.examples.held()
            all_features = features(self.host, held)
            means = [all_features[held.targets == label].mean(0) for label in self._labels()]
            self._means = ((self.position.step, weights), F.normalize(torch.stack(means)))
        return self._means[1]


def _stored_bytes(setup: Setup, shape: tuple[int, ...], stored: Stored) -> int:
    """What one exemplar with its class takes."""
    inputs = torch.zeros(shape)
    if stored == "raw":
        inputs = setup.stream[0].arrays.subset(torch.zeros(1, dtype=torch.int64)).read()[0]
    return inputs.numel() * inputs.element_size() + torch.int64.itemsize


def icarl_loss(logits: Tensor, teacher: Tensor | None, targets: Tensor, old: list[int], new: list[int]) -> Tensor:
    """Binary cross-entropies in nats, summed over the classes seen, mean over examples: a scalar.

    Args:
        logits: (B, classes).
        teacher: (B, classes) logits of the last boundary's network; None where there is none.
        targets: (B,) int64.
        old: classes whose outputs follow the teacher's.
        new: classes whose outputs follow the targets.

    Source: Rebuffi et al. 2017, algorithm 3.
    """
    wanted = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    if teacher is not None:
        wanted[:, old] = teacher[:, old].sigmoid().to(logits.dtype)
    seen = [*old, *new]
    return F.binary_cross_entropy_with_logits(logits[:, seen], wanted[:, seen], reduction="none").sum(1).mean()
