"""Unsupervised learning: two views of an image agree feature by feature, and features do not repeat each other."""

from __future__ import annotations

from typing import Any

import torch
from attrs import define
from torch import Tensor, nn

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.learners.gradient import GradientLearner, tried
from rlcl.networks.mlp import Mlp
from rlcl.types import Batch, Network, Setup

__all__ = ["BarlowTwins", "barlow_twins_loss"]


@define(kw_only=True, eq=False)
class BarlowTwins(GradientLearner):
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

    projector: Network = option(factory=lambda: Mlp(hidden=(256,)), help="from representation to projection")
    features: int = option(128, ge=2, help="width of the representation")
    projection: int = option(256, ge=2, help="width of the projection")
    redundancy: float = option(5e-3, ge=0, help="lambda, the weight of the off-diagonal terms")

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
            raise UnsupportedError("learner.augment: barlow_twins needs what makes a view, for example [{type: noise}]")
        backbone = tried(self.network.build(shape, self.features, 1), self.network, shape, self.features)
        projector = self.projector.build((self.features,), self.projection, 1)
        projector = tried(projector, self.projector, (self.features,), self.projection)
        return nn.ModuleDict({"backbone": backbone, "projector": projector})

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """(B, features) representations of (B, *encoded) inputs."""
        features: Tensor = self.module["backbone"](x)  # type: ignore[index]
        return features

    def loss(self, batch: Batch) -> Tensor:
        projector: nn.Module = self.module["projector"]  # type: ignore[index]
        first, second = (projector(self.outputs(self.augmented(batch.inputs)).relu()) for _ in range(2))
        return barlow_twins_loss(first, second, self.redundancy)

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """(B, features) representations of raw inputs (B, *observation)."""
        return self.represent(x, task_id), None

    def represent(self, x: Any, task_id: int | None = None) -> Tensor:
        """(B, features) representations of raw inputs (B, *observation)."""
        with self.predicting(task_id):
            return torch.cat([self.outputs(part) for part, _ in self.chunks(x, task_id)]).cpu()


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
