"""iCaRL: exemplars selected by herding, distillation, and nearest-mean-of-exemplars classification."""

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
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.methods.parts.features import features, has_features
from rlcl.methods.parts.parameters import device_of
from rlcl.types import Batch, Experience, Graph, Host, Method, Setup

__all__ = ["ICarl", "icarl_loss"]


@define(kw_only=True, eq=False)
class ExemplarMethod(Method):
    """Built-in rehearsal method of iCaRL: exemplars, and the network at the last boundary with its known classes.

    Args:
        capacity, capacity_bytes, stored: see :class:`ICarl`.
        batch_size: exemplars that are added to each minibatch.
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

    def quantities(self) -> Mapping[str, float]:
        """Log nothing: it is part of the learner, and its name is not in any config."""
        return {}

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
        return self._examples.sample(self.batch_size) if len(self._examples) else None

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self._examples.state_dict(), "teacher": dict(self.teacher), "known": list(self.known)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        device = device_of(self._host)
        self._examples.load_state_dict(state["memory"], device)
        self.teacher = {name: tensor.to(device) for name, tensor in state["teacher"].items()}
        self.known = list(state["known"])


@define(kw_only=True, eq=False)
class ICarl(GradientLearner):
    """Classifier that predicts the class whose mean feature of exemplars is nearest.

    Features are learned from new data and exemplars. Each class has a sigmoid output. The targets for former classes
    are the outputs of the network at the last boundary; the targets for new classes are the labels. Exemplars are added
    to every minibatch, whereas the paper trains on the union of exemplars and new data. A class has no exemplars until
    its experience ends, and is not predicted before; until the first boundary the class with the maximum output is
    predicted.

    Args:
        capacity: total number of exemplars, shared by the classes seen so far, at least one for each class; or
        capacity_bytes: maximum size of the stored exemplars in bytes.
        stored: format of the stored inputs. ``encoded``: inputs are encoded before they are stored. ``raw``: inputs are
            stored in the dtype of the data set and encoded each time they are sampled.
        memory_batch_size: exemplars that are added to each minibatch.
        network: network architecture; features are the inputs of its last linear layer, scaled to length 1.
        optimizer: torch optimizer, kept across all experiences.
        batch_size: samples in a minibatch; the last minibatch of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is dropped.
        augment: random augmentations of training inputs, in the order in which they are applied.
        methods: continual-learning methods, run in the order of their phases.

    Source: Rebuffi et al. 2017, iCaRL: incremental classifier and representation learning, algorithms 1 to 5.
    """

    capacity: int | None = option(None, ge=1)
    capacity_bytes: int | None = option(None, ge=1)
    stored: Stored = option("encoded")
    memory_batch_size: int = option(32, ge=1)

    _exemplars: ExemplarMethod = field(init=False, default=None)
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
        self._exemplars = ExemplarMethod(
            capacity=self.capacity,
            capacity_bytes=self.capacity_bytes,
            stored=self.stored,
            batch_size=self.memory_batch_size,
        )
        module = self.built(self.network, shape, setup.spec.classes)
        if not has_features(module):
            raise UnsupportedError(
                "learner.network: icarl needs a network with a linear layer, whose inputs are its features; this one "
                "has none"
            )
        return module

    def _check_capacity(self, setup: Setup, shape: tuple[int, ...]) -> None:
        """Check that the capacity suffices for one exemplar of each class, because icarl predicts with exemplars.

        Raises:
            UnsupportedError: the capacity is too small.
        """
        classes = setup.spec.classes
        if self.capacity is not None:
            key, capacity, minimum = "capacity", self.capacity, classes
        else:
            assert self.capacity_bytes is not None
            key, capacity, minimum = (
                "capacity_bytes",
                self.capacity_bytes,
                classes * _stored_bytes(setup, shape, self.stored),
            )
        if capacity >= minimum:
            return
        raise UnsupportedError(
            f"learner.{key}: expected at least {minimum:,}, for one exemplar of each of the {classes} classes of this "
            f"stream, got {capacity:,}"
        )

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """Return logits (B, classes), one per class, for encoded inputs (B, *encoded)."""
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
        if old:  # the teacher gets the same augmented inputs
            with evaluation_mode(self.module):
                teacher = functional_call(self.module, self._exemplars.teacher, (x,))
        return icarl_loss(logits, teacher, batch.targets, old, self._new)

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """Predict classes (B,) int64 for raw inputs (B, *observation), among those of the task if its id is given."""
        allowed = self._setup.spec.task_classes[task_id] if task_id is not None else range(self._setup.spec.classes)
        with self.predicting(task_id):
            stored = self._stored_labels()
            labels = [label for label in stored if label in allowed]
            if not labels:
                scores = torch.cat([self.outputs(part) for part, _ in self.chunks(x, None)])
                labels = list(allowed)
                return torch.tensor(labels)[scores[:, labels].argmax(1).cpu()], None
            means = self._class_means()[[stored.index(label) for label in labels]]
            nearest = [
                torch.cdist(features(self.host, Batch(part)), means).argmin(1) for part, _ in self.chunks(x, None)
            ]
            return torch.tensor(labels)[torch.cat(nearest).cpu()], None

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        raise UnsupportedError(
            "it predicts with the means of its exemplars, which a graph does not contain; use classifier with rehearsal"
        )

    def _stored_labels(self) -> list[int]:
        """Return the classes that have exemplars; examples can be deleted from the memory."""
        columns = self.memory.contents()
        return sorted(set(columns["targets"].tolist())) if columns else []

    def _class_means(self) -> Tensor:
        """Return the mean features (labels, D) of each class's exemplars with the current weights, at length 1."""
        # The version of a weight changes when a state is loaded, but not in the steps of torch's fused optimizers.
        weights = [(id(p), p._version) for p in self.module.parameters()]
        if self._means is None or self._means[0] != (self.position.step, weights):
            exemplars = self._exemplars.examples.contents()
            all_features = features(self.host, exemplars)
            means = [all_features[exemplars.targets == label].mean(0) for label in self._stored_labels()]
            self._means = ((self.position.step, weights), F.normalize(torch.stack(means)))
        return self._means[1]


def _stored_bytes(setup: Setup, shape: tuple[int, ...], stored: Stored) -> int:
    """Return the size in bytes of one stored exemplar with its label."""
    inputs = torch.zeros(shape)
    if stored == "raw":
        inputs = setup.stream[0].arrays.subset(torch.zeros(1, dtype=torch.int64)).read()[0]
    return inputs.numel() * inputs.element_size() + torch.int64.itemsize


def icarl_loss(logits: Tensor, teacher: Tensor | None, targets: Tensor, old: list[int], new: list[int]) -> Tensor:
    """Return the binary cross-entropy in nats, summed over the classes seen and averaged over examples, a scalar.

    Args:
        logits: (B, classes).
        teacher: (B, classes) logits of the network at the last boundary; None before the first boundary.
        targets: (B,) int64.
        old: classes whose targets are the teacher's outputs.
        new: classes whose targets are the labels.

    Source: Rebuffi et al. 2017, algorithm 3.
    """
    soft_targets = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    if teacher is not None:
        soft_targets[:, old] = teacher[:, old].sigmoid().to(logits.dtype)
    seen = [*old, *new]
    return F.binary_cross_entropy_with_logits(logits[:, seen], soft_targets[:, seen], reduction="none").sum(1).mean()
