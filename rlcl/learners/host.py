"""Adapter that exposes a gradient-based learner to continual-learning methods through the ``Host`` interface."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.learners.minibatches import Minibatches
from rlcl.methods.parts.experience_tasks import has_single_tasks
from rlcl.process_group import process_group
from rlcl.types import Batch, Setup, TaskIds

if TYPE_CHECKING:
    from rlcl.learners.gradient import GradientLearner

__all__ = ["GradientHost"]

TASKS = ("task_id", "task_id_everywhere", "one_task", "boundaries")
WHOLE = ("batch", "native", "pass")  # what methods use to see each row of a minibatch in its forward pass
CAPABILITIES = ("batch", "targets", "loss", *TASKS, "native", "input_shape", "shares", "weights", "pass")


@define(eq=False)
class GradientHost:
    """Adapter from a gradient-based learner to the :class:`rlcl.types.Host` interface.

    It does not provide task ids or boundaries that are hidden from the learner.

    Args:
        learner: the learner.
        setup: setup that was passed to ``prepare``.
    """

    learner: GradientLearner
    setup: Setup
    primary: str = "network"
    data: Minibatches | None = field(init=False, default=None)  # of the current or most recent segment

    @property
    def name(self) -> str:
        return self.learner.name

    @property
    def kind(self) -> str:
        return self.learner.kind

    @property
    def provides(self) -> frozenset[str]:
        visibility, learner = self.setup.stream.visibility, self.learner
        hidden = set() if learner.weighs else {"shares", "weights", "pass"}
        if learner.accumulate > 1 or not learner.shows_pass:
            hidden.add("pass")
        hidden |= set(self.lacking)
        if not visibility.in_training:
            hidden.add("task_id")
        if visibility.task_ids != "visible":
            hidden.add("task_id_everywhere")
        if visibility.boundaries == "hidden":
            hidden.add("boundaries")
        if not self._one_task:
            hidden.add("one_task")
        return frozenset(CAPABILITIES) - hidden

    @property
    def lacking(self) -> Mapping[str, str]:
        """See :class:`rlcl.types.LackingHost`."""
        size = process_group().size
        return {} if size == 1 else dict.fromkeys(WHOLE, f"{size} processes divide its minibatches")

    @cached_property
    def _one_task(self) -> bool:
        return has_single_tasks(self.setup.stream)

    @property
    def ema(self) -> float | None:
        """Decay of the average of the weights that is used for prediction; None if there is no average."""
        return self.learner.ema

    @property
    def input_shape(self) -> tuple[int, ...]:
        """See :class:`rlcl.types.NativeHost`."""
        return self.setup.encoder.shape(self.setup.spec.observation_shape)

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return self.learner.modules

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return self.learner.optimizers

    @property
    def batch(self) -> Batch | None:
        return self.learner.batch

    @property
    def given(self) -> Tensor:
        """See :class:`rlcl.types.WeighingHost`."""
        return self.learner.objective.outputs

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        return self.learner.outputs(x, task_ids)

    def loss(self, batch: Batch) -> Tensor:
        return self.learner.loss(batch)

    def losses(self, batch: Batch) -> Tensor:
        """See :class:`rlcl.types.WeighingHost`."""
        return self.learner.losses(batch)

    def sample(self, n: int | None, rng: np.random.Generator) -> Batch:
        """Sample at most ``n`` encoded examples of the experience that has just ended, without replacement."""
        if self.data is None:
            raise ValueError("no experience has been learned yet")
        return self.data.at(torch.from_numpy(rng.permutation(len(self.data))[:n]))

    def raw(self, batch: Batch) -> Tensor:
        """See :class:`rlcl.types.RawHost`."""
        assert self.data is not None
        assert batch.rows is not None
        return self.data.source.subset(batch.rows.cpu()).read()[0].to(self.setup.device)

    def encoded(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        """See :class:`rlcl.types.RawHost`."""
        return self.learner.encoded(x, task_id)
