"""Unsupervised learning: two views of an image agree feature by feature, and features do not repeat each other."""

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
    """Drives the cross-correlation of two views' projections towards the identity.

    ``augment`` makes a view, and must not be empty. The representation, which probes and methods see,
    is what the projector reads. Labels are used by the probes alone.

    Args:
        network: builds the network from input to representation.
        projector: builds the network from representation to projection.
        features: width of the representation.
        projection: width of the projection.
        redundancy: lambda, the weight of the off-diagonal terms.
        augment: what makes a view.
        optimizer: builds the torch optimizer, kept through all experiences.
        batch_size: samples in a minibatch; the last one of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is left out.
        methods: continual-learning methods; they run in the order of their phases.

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
    """sum_i (1 - C_ii)^2 + redundancy * sum_{i != j} C_ij^2, C being the cross-correlation over the batch.

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
