"""Base class of self-supervised learners that compare two random views of each input."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from attrs import define
from torch import Tensor, nn

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.learners.gradient import GradientLearner
from rlcl.registry import name_of
from rlcl.types import Batch, Graph, Network, Setup

__all__ = ["TwoViewsLearner"]


@define(kw_only=True, eq=False)
class TwoViewsLearner(GradientLearner):
    """Learner with a backbone and a projector; subclasses define the loss on the projections of two views.

    ``augment`` creates the views and must not be empty. Probes and methods get the representation, which is the input
    of the projector. Labels are used only by the probes.
    """

    projector: Network
    features: int = option(128, ge=2)
    projection: int = option(256, ge=2)

    @abstractmethod
    def more_networks(self) -> Mapping[str, tuple[Network, int, int]]:
        """Return further networks by name: the architecture, the number of inputs and the number of outputs."""

    @property
    def kind(self) -> str:
        return "values"

    @property
    def measures(self) -> tuple[str, ...]:
        return ("linear_probe", "nearest_neighbours")

    needs = frozenset({"labelled"})

    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        if not self.augment:
            name = name_of("learner", self)
            raise UnsupportedError(
                f"learner.augment: {name} needs at least one augmentation for its views, for example [{{type: noise}}]"
            )
        parts = {"projector": (self.projector, self.features, self.projection), **self.more_networks()}
        modules = {"backbone": self.built(self.network, shape, self.features)}
        for name, (network, inputs, outputs) in parts.items():
            modules[name] = self.built(network, (inputs,), outputs)
        return nn.ModuleDict(modules)

    def part(self, name: str) -> nn.Module:
        """Return one of the networks by name."""
        module: nn.Module = self.module[name]  # type: ignore[index]
        return module

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """Return representations (B, features) of encoded inputs (B, *encoded)."""
        features: Tensor = self.part("backbone")(x)
        return features

    def projected(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return projections (B, projection) of two views of a minibatch."""
        projector = self.part("projector")
        first, second = (projector(self.outputs(self.augmentations(batch.inputs)).relu()) for _ in range(2))
        return first, second

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """Return representations (B, features) of raw inputs (B, *observation)."""
        return self.represent(x, task_id), None

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        raise UnsupportedError(
            "its output is a representation, which is not a class, number, reconstruction or action; train a learner "
            "on the representation with the encoder trained, and export that learner"
        )

    def represent(self, x: Any, task_id: int | None = None) -> Tensor:
        """Return representations (B, features) of raw inputs (B, *observation)."""
        with self.predicting(task_id):
            return torch.cat([self.outputs(part) for part, _ in self.chunks(x, task_id)]).cpu()
