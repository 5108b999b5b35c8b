"""SimSiam: self-supervised learning by predicting the projection of one view from the other, without negative pairs."""

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
    """Self-supervised learner that predicts one view's projection from the other's, with a stop-gradient on the target.

    ``augment`` creates the views and must not be empty. Probes and methods get the representation, which is the input
    of the projector. Labels are used only by the probes.

    Args:
        network: network architecture from input to representation.
        projector: network architecture from representation to projection.
        predictor: network architecture from projection to the predicted projection of the other view.
        features: dimension of the representation.
        projection: dimension of the projection.
        augment: random augmentations that create a view.
        optimizer: torch optimizer, kept across all experiences.
        batch_size: samples in a minibatch; the last minibatch of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is dropped.
        methods: continual-learning methods, run in the order of their phases.

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
    """Compute the mean negative cosine similarity, in [-1, 1], of (B, K) predictions and constant projections.

    Source: Chen & He 2021, eqs. 1 and 3.
    """
    return -F.cosine_similarity(predicted, projection.detach(), dim=1).mean()
