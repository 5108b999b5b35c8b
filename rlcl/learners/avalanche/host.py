"""Adapter that exposes a strategy of Avalanche to methods and probes through the ``Host`` interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from attrs import frozen
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.learners.avalanche.benchmark import EncodedDataset
from rlcl.learners.avalanche.prediction import is_multitask
from rlcl.types import IMPOSSIBLE, Batch, StreamSpec, Visibility

__all__ = ["AvalancheHost"]


@frozen(eq=False)
class AvalancheHost:
    """Adapter from a strategy of Avalanche to the :class:`rlcl.types.Host` interface, without ``native``.

    Args:
        name: name of the learner, for messages.
        strategy: a strategy of Avalanche.
        spec: specification of the stream.
        visibility: visibility of task ids and boundaries.
        data: returns the data of the current or last experience.
    """

    name: str
    strategy: Any
    spec: StreamSpec
    visibility: Visibility
    data: Callable[[], EncodedDataset]
    kind: str = "categorical"
    primary: str = "network"

    @property
    def provides(self) -> frozenset[str]:
        visible = {"task_id"} if self.visibility.in_training else set()
        if self.visibility.task_ids == "visible":
            visible.add("task_id_everywhere")
        return frozenset({"batch", "targets", "loss", "boundaries", *visible})

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.strategy.model}

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return {} if self.strategy.optimizer is None else {"network": self.strategy.optimizer}

    @property
    def batch(self) -> Batch | None:
        """The strategy's minibatch, including samples of its own memory."""
        minibatch = self.strategy.mbatch
        if minibatch is None:
            return None
        return Batch(minibatch[0], minibatch[1], minibatch[-1] if self.visibility.in_training else None)

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """Return logits (B, classes) for encoded inputs; -1e9 for classes without output and classes of other tasks."""
        model = self.strategy.model
        tasks = torch.zeros(len(x), dtype=torch.int64, device=x.device) if task_ids is None else task_ids
        logits: Tensor = model(x, tasks) if is_multitask(model) else model(x)
        logits = F.pad(logits, (0, max(self.spec.classes - logits.shape[1], 0)), value=IMPOSSIBLE)
        if task_ids is None or not is_multitask(model):
            return logits
        impossible = torch.ones(len(self.spec.task_classes), logits.shape[1], dtype=torch.bool, device=x.device)
        for task, classes in enumerate(self.spec.task_classes):
            impossible[task, list(classes)] = False
        return logits.masked_fill(impossible[task_ids], IMPOSSIBLE)

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy over a batch, a scalar."""
        assert batch.targets is not None
        return F.cross_entropy(self.outputs(batch.inputs, batch.task_ids), batch.targets)

    def sample(self, n: int | None, rng: np.random.Generator) -> Batch:
        """Sample at most ``n`` encoded samples of the current or last experience without replacement."""
        data = self.data()
        rows = torch.from_numpy(rng.permutation(len(data))[:n])
        return data.batch(rows, self.visibility.in_training, self.strategy.device)
