"""Regression learner."""

from __future__ import annotations

from typing import Any

import torch
from attrs import define
from torch import Tensor, nn

from rlcl.learners.gradient import GradientLearner
from rlcl.learners.inference_graphs import regressor_graph
from rlcl.learners.training_objective import weighted_mean
from rlcl.networks.task_ids import call_network
from rlcl.types import Batch, Graph, Setup

__all__ = ["Regressor"]


@define(kw_only=True, eq=False)
class Regressor(GradientLearner):
    """Regression with a network that minimizes the mean squared error.

    Args:
        network: network architecture.
        optimizer: torch optimizer, kept across all experiences.
        batch_size: samples in a minibatch; the last minibatch of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is dropped.
        augment: random augmentations of training inputs, in the order in which they are applied.
        methods: continual-learning methods, run in the order of their phases.
    """

    weighs = True

    @property
    def kind(self) -> str:
        return "values"

    @property
    def measures(self) -> tuple[str, ...]:
        return ("squared_error",)

    needs = frozenset({"regression"})

    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        return self.built(self.network, shape, setup.spec.targets, max(len(setup.spec.task_classes), 1), heads=True)

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """Return predictions (B, K) for encoded inputs (B, *encoded)."""
        return call_network(self.module, x, task_ids)

    def loss(self, batch: Batch) -> Tensor:
        assert batch.targets is not None
        x = self.augmented(batch.inputs)
        predictions = self.outputs(x, batch.task_ids)
        loss = weighted_mean((predictions - batch.targets).square(), batch.weights)
        return self.with_memory(loss, x, predictions, batch)

    def losses(self, batch: Batch) -> Tensor:
        """Return the squared error (B,) of each example."""
        assert batch.targets is not None
        predictions = self.outputs(self.augmented(batch.inputs), batch.task_ids)
        return (predictions - batch.targets).square().mean(1)

    def scores(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean squared error (B,) over the predicted values of each example."""
        assert batch.targets is not None
        return (outputs - batch.targets).square().mean(1)

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """Predict values (B, K) float32 for raw inputs (B, *observation)."""
        with self.predicting(task_id):
            return torch.cat([self.outputs(part, ids) for part, ids in self.chunks(x, task_id)]).cpu(), None

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        return regressor_graph(self, tasks)
