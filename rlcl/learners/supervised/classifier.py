"""Supervised learning: a softmax classifier."""

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
from rlcl.learners.graphs import classifier_graph
from rlcl.learners.supervised.semi_supervised import HIDDEN, hidden_labels, pseudo_label_loss
from rlcl.networks.task_ids import takes_task_ids
from rlcl.types import IMPOSSIBLE, Batch, Experience, Graph, Setup

__all__ = ["Classifier", "balanced_weights"]


@define(kw_only=True, eq=False)
class Classifier(GradientLearner):
    """Minimises the cross-entropy of a network's logits.

    All outputs are active from the start. Where the protocol shows task ids, the classes of the
    other tasks are impossible, in training and in prediction: with an ``mlp`` that equals one
    linear head a task over a shared body.

    Args:
        network: builds the torch module.
        optimizer: builds the torch optimizer, kept through all experiences.
        batch_size: samples in a minibatch; the last one of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is left out.
        augment: random changes of training inputs, in the order in which they are applied.
        methods: continual-learning methods; they run in the order of their phases.
        class_weights: factor of each class's loss, (classes,); or ``balanced``: inversely proportional to
            how often the class has been seen so far, 1 on average over what has been seen.
        labelled: share of each experience's labels that are shown, the same of each class; the rest of its
            inputs are learned from by pseudo-labels. Methods see the target -1 where a label is hidden.
        confidence: least probability of a pseudo-label that counts.
        unlabelled_weight: factor of the pseudo-labels' loss.
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

    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        spec = setup.spec
        if self.labelled < 1 and self.accumulate > 1:
            raise UnsupportedError(
                "learner.accumulate: the parts of a minibatch differ in how many labels they show, and their gradients "
                "do not add up to its own; set accumulate: 1, or labelled: 1"
            )
        tasks = max(len(spec.task_classes), 1)
        if isinstance(self.class_weights, tuple) and len(self.class_weights) != spec.classes:
            raise UnsupportedError(
                f"learner.class_weights: expected a list of {spec.classes}, one a class, got {len(self.class_weights)}"
            )
        self._impossible = torch.ones(tasks, spec.classes, dtype=torch.bool, device=setup.device)
        for task, classes in enumerate(spec.task_classes):
            self._impossible[task, list(classes)] = False
        return self.built(self.network, shape, spec.classes, tasks, heads=True)

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """(B, classes) logits for (B, *encoded) inputs; -1e9 for the classes of other tasks."""
        logits: Tensor
        if task_ids is None:
            logits = self.module(x)
            return logits
        logits = self.module(x, task_ids) if takes_task_ids(self.module) else self.module(x)
        # In float32, for -1e9 is too much for float16.
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
        shown = batch.targets != HIDDEN
        supervised = losses.sum() / shown.sum().clamp(min=1)
        if self.labelled == 1:
            return supervised
        hidden = ~shown
        with torch.no_grad():
            guesses = self.outputs(batch.inputs, batch.task_ids)[hidden]
        weights = None if batch.weights is None else batch.weights[hidden]
        guessed = pseudo_label_loss(logits[hidden], guesses, self.confidence, weights)
        return supervised + self.unlabelled_weight * guessed

    def _losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B,) by the class weights, 0 where a label is hidden."""
        losses = F.cross_entropy(logits, targets, reduction="none", ignore_index=HIDDEN)
        return losses if self._weights is None else losses * self._weights[targets.clamp(min=0)]

    def losses(self, batch: Batch) -> Tensor:
        """(B,) cross-entropies of examples one by one, 0 where a label is hidden."""
        assert batch.targets is not None
        return self._losses(self.outputs(self.augmented(batch.inputs), batch.task_ids), batch.targets)

    def scores(self, outputs: Tensor, batch: Batch) -> Tensor:
        """(S,) whether the greatest logit is that of the class, of the examples that show theirs."""
        assert batch.targets is not None
        right = outputs.argmax(1) == batch.targets
        return right if self.labelled == 1 else right[batch.targets != HIDDEN]

    def targets(self, part: Experience, y: Tensor) -> Tensor:
        """The labels (N,) that are shown, -1 for the others; class weights follow what has been seen."""
        if self.class_weights == "balanced":
            self._weights = balanced_weights(self._seen(part), self._setup.spec.classes).to(self.device)
        elif self.class_weights is not None:
            self._weights = torch.tensor(self.class_weights, device=self.device)
        return self._shown(part, y)

    def _shown(self, part: Experience, y: Tensor) -> Tensor:
        if self.labelled == 1:
            return y
        return hidden_labels(y, self.labelled, self._setup.seeds.child(f"labelled {part.index}").numpy())

    def _seen(self, part: Experience) -> Tensor:
        """The labels that the stream has shown up to a part and with it."""
        parts = [p for experience in self._setup.stream for p in experience.parts if p.index <= part.index]
        shown = [self._shown(p, p.train.targets) for p in parts if isinstance(p.train, LabelledArrays)]
        labels = torch.cat(shown)
        return labels[labels != HIDDEN]

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """(B,) int64 classes for raw inputs (B, *observation)."""
        with self.predicting(task_id):
            return torch.cat([self.outputs(part, ids).argmax(1) for part, ids in self.chunks(x, task_id)]).cpu(), None

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        return classifier_graph(self, len(self._setup.spec.task_classes) if tasks else 0)


def balanced_weights(y: Tensor, classes: int) -> Tensor:
    """(classes,) float32: N / (K * count) for the K classes among labels (N,), 1 for the others.

    Source: King & Zeng 2001, Logistic regression in rare events data, section 4.1.
    """
    counts = torch.bincount(y, minlength=classes)
    present = counts > 0
    weights = len(y) / (int(present.sum()) * counts.clamp(min=1)).to(torch.float32)
    return torch.where(present, weights, torch.ones_like(weights))
