"""Unsupervised learning: one view of an image predicts the other, without negative pairs."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F  # noqa: N812
from attrs import define
from torch import Tensor

from rlcl.config import option
from rlcl.learners.unsupervised.two_views import TwoViewsLearner
from rlcl.networks.mlp import Mlp
from rlcl.types import Batch, Network

__all__ = ["SimSiam", "simsiam_loss"]


@define(kw_only=True, eq=False)
class SimSiam(TwoViewsLearner):
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

    projector: Network = option(factory=lambda: Mlp(hidden=(256,), layer_norm=True))
    predictor: Network = option(factory=lambda: Mlp(hidden=(64,), layer_norm=True))

    def more_networks(self) -> Mapping[str, tuple[Network, int, int]]:
        return {"predictor": (self.predictor, self.projection, self.projection)}

    def loss(self, batch: Batch) -> Tensor:
        first, second = self.projected(batch)
        predictor = self.part("predictor")
        return simsiam_loss(predictor(first), second) / 2 + simsiam_loss(predictor(second), first) / 2


def simsiam_loss(predicted: Tensor, projection: Tensor) -> Tensor:
    """Mean negative cosine similarity of (B, K) predictions and projections, the latter held fixed; in [-1, 1].

    Source: Chen & He 2021, eqs. 1 and 3.
    """
    return -F.cosine_similarity(predicted, projection.detach(), dim=1).mean()
