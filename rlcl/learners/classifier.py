"""Supervised learning: a softmax classifier."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define, field
from torch import Tensor, nn

from rlcl.learners.gradient import GradientLearner, tried
from rlcl.types import Batch, Setup

__all__ = ["Classifier"]

# Not -inf: probability times log-probability must be 0, not NaN, for an impossible class.
IMPOSSIBLE = -1e9


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
    """

    _impossible: Tensor = field(init=False, default=None)

    @property
    def kind(self) -> str:
        return "categorical"

    @property
    def measures(self) -> tuple[str, ...]:
        return ("accuracy",)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"labelled"})

    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        spec = setup.spec
        tasks = max(len(spec.task_classes), 1)
        self._impossible = torch.ones(tasks, spec.classes, dtype=torch.bool, device=setup.device)
        for task, classes in enumerate(spec.task_classes):
            self._impossible[task, list(classes)] = False
        return tried(self.network.build(shape, spec.classes, tasks), self.network, shape, spec.classes, heads=True)

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """(B, classes) logits for (B, *encoded) inputs; -1e9 for the classes of other tasks."""
        logits: Tensor
        if task_ids is None:
            logits = self.module(x)
            return logits
        logits = self.module(x, task_ids) if getattr(self.module, "takes_task_ids", False) else self.module(x)
        return logits.masked_fill(self._impossible.index_select(0, task_ids), IMPOSSIBLE)

    def loss(self, batch: Batch) -> Tensor:
        assert batch.targets is not None
        return F.cross_entropy(self.outputs(self.augmented(batch.inputs), batch.task_ids), batch.targets)

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """(B,) int64 classes for raw inputs (B, *observation)."""
        with self.predicting(task_id):
            return torch.cat([self.outputs(part, ids).argmax(1) for part, ids in self.chunks(x, task_id)]).cpu(), None
