"""What learners share that compare two random views of each image."""

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
    """A backbone and a projector; a concrete learner says what the projections of two views have in common.

    ``augment`` makes a view, and must not be empty. The representation, which probes and methods see,
    is what the projector reads. Labels are used by the probes alone.
    """

    projector: Network
    features: int = option(128, ge=2)
    projection: int = option(256, ge=2)

    @abstractmethod
    def more_networks(self) -> Mapping[str, tuple[Network, int, int]]:
        """Further networks by name: what builds each, its inputs and outputs."""

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
            raise UnsupportedError(f"learner.augment: {name} needs what makes a view, for example [{{type: noise}}]")
        parts = {"projector": (self.projector, self.features, self.projection), **self.more_networks()}
        modules = {"backbone": self.built(self.network, shape, self.features)}
        for name, (network, inputs, outputs) in parts.items():
            modules[name] = self.built(network, (inputs,), outputs)
        return nn.ModuleDict(modules)

    def part(self, name: str) -> nn.Module:
        """One of the networks by name."""
        module: nn.Module = self.module[name]  # type: ignore[index]
        return module

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """(B, features) representations of (B, *encoded) inputs."""
        features: Tensor = self.part("backbone")(x)
        return features

    def projected(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Projections (B, projection) of two views."""
        projector = self.part("projector")
        first, second = (projector(self.outputs(self.changed(batch.inputs)).relu()) for _ in range(2))
        return first, second

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """(B, features) representations of raw inputs (B, *observation)."""
        return self.represent(x, task_id), None

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        raise UnsupportedError(
            "a representation alone is neither class, number, reconstruction nor action; learn from it by the encoder "
            "trained, and export what learned"
        )

    def represent(self, x: Any, task_id: int | None = None) -> Tensor:
        """(B, features) representations of raw inputs (B, *observation)."""
        with self.predicting(task_id):
            return torch.cat([self.outputs(part) for part, _ in self.chunks(x, task_id)]).cpu()
