"""What methods see of a strategy of Avalanche."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from attrs import frozen
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.learners.avalanche.experiences import Encoded
from rlcl.learners.avalanche.prediction import is_multitask
from rlcl.types import IMPOSSIBLE, Batch, StreamSpec, Visibility

__all__ = ["AvalancheHost"]


@frozen(eq=False)
class AvalancheHost:
    """A strategy as a :class:`rlcl.types.Host`: everything but a native network.

    Args:
        name: the learner's, for messages.
        strategy: of Avalanche.
        spec: the stream's classes.
        visibility: what the protocol shows.
        data: gives the data of the experience in progress, or just learned.
    """

    name: str
    strategy: Any
    spec: StreamSpec
    visibility: Visibility
    data: Callable[[], Encoded]
    kind: str = "categorical"
    primary: str = "network"

    @property
    def provides(self) -> frozenset[str]:
        shown = {"task_id"} if self.visibility.in_training else set()
        if self.visibility.task_ids == "visible":
            shown.add("task_id_everywhere")
        return frozenset({"batch", "targets", "loss", "boundaries", *shown})

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.strategy.model}

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return {} if self.strategy.optimizer is None else {"network": self.strategy.optimizer}

    @property
    def batch(self) -> Batch | None:
        """The strategy's minibatch, with what its own memory joined to it."""
        found = self.strategy.mbatch
        if found is None:
            return None
        return Batch(found[0], found[1], found[-1] if self.visibility.in_training else None)

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """(B, classes) logits for encoded inputs, -1e9 for classes without an output yet and those of other tasks."""
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
        """Mean cross-entropy over a batch, a scalar."""
        assert batch.targets is not None
        return F.cross_entropy(self.outputs(batch.inputs, batch.task_ids), batch.targets)

    def sample(self, n: int | None, rng: np.random.Generator) -> Batch:
        """At most ``n`` items of the experience just learned, encoded, without replacement."""
        held = self.data()
        rows = torch.from_numpy(rng.permutation(len(held))[:n])
        return held.batch(rows, self.visibility.in_training, self.strategy.device)
