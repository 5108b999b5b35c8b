"""Unsupervised learning: one view of an image predicts the other, without negative pairs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define
from torch import Tensor, nn

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.learners.gradient import GradientLearner, tried
from rlcl.networks.mlp import Mlp
from rlcl.types import Batch, Network, Setup

__all__ = ["SimSiam", "simsiam_loss"]


@define(kw_only=True, eq=False)
class SimSiam(GradientLearner):
    """Makes a prediction from one view's projection equal the other's, through which no gradient flows.

    ``augment`` makes a view, and must not be empty. The representation, which probes and methods see,
    is what the projector reads. Labels are used by the probes alone.

    Args:
        network: builds the network from input to representation.
        projector: builds the network from representation to projection.
        predictor: builds the network from projection to the other view's projection.
        features: width of the representation.
        projection: width of the projection.
        augment: what makes a view.
        optimizer: builds the torch optimizer, kept through all experiences.
        batch_size: samples in a minibatch; the last one of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is left out.
        methods: continual-learning methods; they run in the order of their phases.

    Source: Chen & He 2021, Exploring simple Siamese representation learning, eq. 2.
    """

    projector: Network = option(
        factory=lambda: Mlp(hidden=(256,), layer_norm=True), help="from representation to projection"
    )
    predictor: Network = option(
        factory=lambda: Mlp(hidden=(64,), layer_norm=True), help="from projection to the other view's"
    )
    features: int = option(128, ge=2, help="width of the representation")
    projection: int = option(256, ge=2, help="width of the projection")

    @property
    def kind(self) -> str:
        return "values"

    @property
    def measures(self) -> tuple[str, ...]:
        return ("linear_probe", "nearest_neighbours")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"labelled"})

    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        if not self.augment:
            raise UnsupportedError("learner.augment: simsiam needs what makes a view, for example [{type: noise}]")
        widths = {"backbone": (self.network, shape, self.features)}
        widths["projector"] = (self.projector, (self.features,), self.projection)
        widths["predictor"] = (self.predictor, (self.projection,), self.projection)
        return nn.ModuleDict(
            {name: tried(net.build(into, width, 1), net, into, width) for name, (net, into, width) in widths.items()}
        )

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """(B, features) representations of (B, *encoded) inputs."""
        features: Tensor = self.module["backbone"](x)  # type: ignore[index]
        return features

    def loss(self, batch: Batch) -> Tensor:
        projector: nn.Module = self.module["projector"]  # type: ignore[index]
        predictor: nn.Module = self.module["predictor"]  # type: ignore[index]
        first, second = (projector(self.outputs(self.augmented(batch.inputs)).relu()) for _ in range(2))
        return simsiam_loss(predictor(first), second) / 2 + simsiam_loss(predictor(second), first) / 2

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """(B, features) representations of raw inputs (B, *observation)."""
        return self.represent(x, task_id), None

    def represent(self, x: Any, task_id: int | None = None) -> Tensor:
        """(B, features) representations of raw inputs (B, *observation)."""
        with self.predicting(task_id):
            return torch.cat([self.outputs(part) for part, _ in self.chunks(x, task_id)]).cpu()


def simsiam_loss(predicted: Tensor, projection: Tensor) -> Tensor:
    """Mean negative cosine similarity of (B, K) predictions and projections, the latter held fixed; in [-1, 1].

    Source: Chen & He 2021, eqs. 1 and 3.
    """
    return -F.cosine_similarity(predicted, projection.detach(), dim=1).mean()
