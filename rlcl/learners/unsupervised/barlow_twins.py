"""Barlow Twins: self-supervised learning by redundancy reduction."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from attrs import define
from torch import Tensor

from rlcl.config import option
from rlcl.learners.unsupervised.two_views import TwoViewsLearner
from rlcl.networks.mlp import Mlp
from rlcl.types import Batch, Network

__all__ = ["BarlowTwins", "barlow_twins_loss"]


@define(kw_only=True, eq=False)
class BarlowTwins(TwoViewsLearner):
    """Self-supervised learner that drives the cross-correlation of two views' projections towards the identity matrix.

    ``augment`` creates the views and must not be empty. Probes and methods get the representation, which is the input
    of the projector. Labels are used only by the probes.

    Args:
        network: network architecture from input to representation.
        projector: network architecture from representation to projection.
        features: dimension of the representation.
        projection: dimension of the projection.
        redundancy: lambda, the weight of the off-diagonal terms.
        augment: random augmentations that create a view.
        optimizer: torch optimizer, kept across all experiences.
        batch_size: samples in a minibatch; the last minibatch of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is dropped.
        methods: continual-learning methods, run in the order of their phases.

    Source: Zbontar et al. 2021, Barlow Twins, eqs. 1 and 2.
    """

    projector: Network = option(factory=lambda: Mlp(hidden=(256,)))
    redundancy: float = option(5e-3, ge=0)

    def more_networks(self) -> Mapping[str, tuple[Network, int, int]]:
        return {}

    def loss(self, batch: Batch) -> Tensor:
        first, second = self.projected(batch)
        return barlow_twins_loss(first, second, self.redundancy)


def barlow_twins_loss(first: Tensor, second: Tensor, redundancy: float) -> Tensor:
    """Compute sum_i (1 - C_ii)^2 + redundancy * sum_{i != j} C_ij^2, with the cross-correlation C over the batch.

    Args:
        first, second: (B, K) projections of two views, B >= 2.
        redundancy: lambda.

    Source: Zbontar et al. 2021, eqs. 1 and 2.
    """
    correlation = _standardized(first).T @ _standardized(second) / len(first)
    diagonal = correlation.diagonal()
    off_diagonal = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + redundancy * off_diagonal


def _standardized(z: Tensor) -> Tensor:
    variance, mean = torch.var_mean(z, 0, correction=0)
    return (z - mean) * (variance + 1e-5).rsqrt()
