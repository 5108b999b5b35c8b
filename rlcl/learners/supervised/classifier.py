"""Softmax classifier."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define, field
from torch import Tensor, nn

from rlcl.config import option
from rlcl.data.sources import LabelledArrays
from rlcl.errors import UnsupportedError
from rlcl.learners.gradient import GradientLearner
from rlcl.learners.inference_graphs import classifier_graph
from rlcl.learners.supervised.semi_supervised import HIDDEN, hide_labels, pseudo_label_loss
from rlcl.networks.task_ids import call_network
from rlcl.types import IMPOSSIBLE, Batch, Experience, Graph, Setup

__all__ = ["Classifier", "balanced_weights"]


@define(kw_only=True, eq=False)
class Classifier(GradientLearner):
    """Softmax classifier that minimizes the cross-entropy of a network's logits.

    All outputs are active from the start. If the learner receives task ids, the classes of other tasks are masked, in
    training and in prediction. With an ``mlp``, this is equivalent to one linear head per task on a shared body.

    Args:
        network: network architecture.
        optimizer: torch optimizer, kept across all experiences.
        batch_size: samples in a minibatch; the last minibatch of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is dropped.
        augment: random augmentations of training inputs, in the order in which they are applied.
        methods: continual-learning methods, run in the order of their phases.
        class_weights: weight of the loss of each class, (classes,); or ``balanced``: inversely proportional to
            the frequency of the class so far, with mean 1 over the examples so far.
        labelled: fraction of each experience's labels that are used, equal for all classes; the other inputs are
            learned with pseudo-labels. Methods get the target -1 for a hidden label.
        confidence: minimum probability of a pseudo-label that is used.
        unlabelled_weight: weight of the pseudo-label loss.
    """

    class_weights: tuple[float, ...] | Literal["balanced"] | None = option(None, ge=0)
    labelled: float = option(1.0, gt=0, le=1)
    confidence: float = option(0.95, ge=0, le=1)
    unlabelled_weight: float = option(1.0, ge=0)

    weighs = True

    _weights: Tensor | None = field(init=False, default=None)
    _impossible: Tensor = field(init=False, default=None)

    @property
    def kind(self) -> str:
        return "categorical"

    @property
    def measures(self) -> tuple[str, ...]:
        return ("accuracy",)

    needs = frozenset({"labelled"})

    def indivisible(self) -> str | None:
        """See :class:`rlcl.types.Dividing`."""
        if self.labelled < 1:
            return "with labelled below 1, its loss is a mean over the examples that have a label"
        return super().indivisible()

    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        spec = setup.spec
        if self.labelled < 1 and self.accumulate > 1:
            raise UnsupportedError(
                "learner.accumulate: not supported with labelled below 1, because the parts of a minibatch have "
                "different numbers of labels and their gradients do not sum to its gradient; set accumulate: 1, or "
                "labelled: 1"
            )
        tasks = max(len(spec.task_classes), 1)
        if isinstance(self.class_weights, tuple) and len(self.class_weights) != spec.classes:
            raise UnsupportedError(
                f"learner.class_weights: expected {spec.classes} numbers, one per class, got {len(self.class_weights)}"
            )
        self._impossible = torch.ones(tasks, spec.classes, dtype=torch.bool, device=setup.device)
        for task, classes in enumerate(spec.task_classes):
            self._impossible[task, list(classes)] = False
        return self.built(self.network, shape, spec.classes, tasks, heads=True)

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """Return logits (B, classes) for encoded inputs (B, *encoded), -1e9 for the classes of other tasks."""
        logits: Tensor
        if task_ids is None:
            logits = self.module(x)
            return logits
        logits = call_network(self.module, x, task_ids)
        # In float32, because float16 cannot represent -1e9.
        return logits.float().masked_fill(self._impossible.index_select(0, task_ids), IMPOSSIBLE)

    def loss(self, batch: Batch) -> Tensor:
        assert batch.targets is not None
        x = self.augmented(batch.inputs)
        logits = self.outputs(x, batch.task_ids)
        return self.with_memory(self._mean_loss(logits, batch), x, logits, batch)

    def _mean_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        assert batch.targets is not None
        if self.labelled == 1 and self._weights is None and batch.weights is None:
            return F.cross_entropy(logits, batch.targets)
        losses = self._losses(logits, batch.targets)
        if batch.weights is not None:
            losses = losses * batch.weights
        labelled = batch.targets != HIDDEN
        supervised_loss = losses.sum() / labelled.sum().clamp(min=1)
        if self.labelled == 1:
            return supervised_loss
        hidden = ~labelled
        with torch.no_grad():
            guesses = self.outputs(batch.inputs, batch.task_ids)[hidden]
        weights = None if batch.weights is None else batch.weights[hidden]
        unsupervised_loss = pseudo_label_loss(logits[hidden], guesses, self.confidence, weights)
        return supervised_loss + self.unlabelled_weight * unsupervised_loss

    def _losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropies (B,) times the class weights, 0 for a hidden label."""
        losses = F.cross_entropy(logits, targets, reduction="none", ignore_index=HIDDEN)
        return losses if self._weights is None else losses * self._weights[targets.clamp(min=0)]

    def losses(self, batch: Batch) -> Tensor:
        """Return the cross-entropy (B,) of each example, 0 for a hidden label."""
        assert batch.targets is not None
        return self._losses(self.outputs(self.augmented(batch.inputs), batch.task_ids), batch.targets)

    def scores(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return whether the class with the maximum logit is correct, (S,) bool for the examples with a label."""
        assert batch.targets is not None
        correct = outputs.argmax(1) == batch.targets
        return correct if self.labelled == 1 else correct[batch.targets != HIDDEN]

    def targets(self, part: Experience, y: Tensor) -> Tensor:
        """Return the labels (N,), -1 for hidden ones, and update the class weights for the labels seen so far."""
        if self.class_weights == "balanced":
            self._weights = balanced_weights(self._labels_until(part), self._setup.spec.classes).to(self.device)
        elif self.class_weights is not None:
            self._weights = torch.tensor(self.class_weights, device=self.device)
        return self._with_hidden_labels(part, y)

    def _with_hidden_labels(self, part: Experience, y: Tensor) -> Tensor:
        """Return the labels (N,) of a part, -1 for those that ``labelled`` hides."""
        if self.labelled == 1:
            return y
        return hide_labels(y, self.labelled, self._setup.seeds.child(f"labelled {part.index}").numpy())

    def _labels_until(self, part: Experience) -> Tensor:
        """Return the visible labels of the stream up to and including a part."""
        parts = [p for experience in self._setup.stream for p in experience.parts if p.index <= part.index]
        labels = torch.cat(
            [self._with_hidden_labels(p, p.train.targets) for p in parts if isinstance(p.train, LabelledArrays)]
        )
        return labels[labels != HIDDEN]

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """Predict classes (B,) int64 for raw inputs (B, *observation)."""
        with self.predicting(task_id):
            return torch.cat([self.outputs(part, ids).argmax(1) for part, ids in self.chunks(x, task_id)]).cpu(), None

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        return classifier_graph(self, len(self._setup.spec.task_classes) if tasks else 0)


def balanced_weights(y: Tensor, classes: int) -> Tensor:
    """Return class weights (classes,) float32: N / (K * count) for the K classes among labels (N,), 1 for the others.

    Source: King & Zeng 2001, Logistic regression in rare events data, section 4.1.
    """
    counts = torch.bincount(y, minlength=classes)
    present = counts > 0
    weights = len(y) / (int(present.sum()) * counts.clamp(min=1)).to(torch.float32)
    return torch.where(present, weights, torch.ones_like(weights))
