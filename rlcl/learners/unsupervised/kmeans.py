"""Online k-means clustering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.learners.one_pass import OnePassLearner
from rlcl.types import Graph, Setup

__all__ = ["KMeans"]


@define(kw_only=True, eq=False)
class KMeans(OnePassLearner):
    """K-means clustering that updates its centres with each minibatch; ``batch_size: 1`` is online k-means.

    Each centre is the mean of all inputs that have been assigned to it. The first ``clusters`` distinct inputs are the
    initial centres.

    Args:
        batch_size: samples that are assigned at a time.
        clusters: number of clusters.

    Source: MacQueen 1967 (online); Sculley 2010, Web-scale k-means clustering, algorithm 1 (minibatch).
    """

    clusters: int = option(10, ge=1)
    _centres: Tensor = field(init=False, default=None)
    _counts: Tensor = field(init=False, default=None)

    @property
    def measures(self) -> tuple[str, ...]:
        labelled = self._setup is not None and self._setup.spec.kind == "labelled"
        return ("adjusted_rand", "mutual_information", "inertia") if labelled else ("inertia",)

    needs = frozenset({"labelled", "regression", "unlabelled"})

    def start(self, setup: Setup, features: int) -> None:
        self._centres = torch.zeros(0, features, device=setup.device)
        self._counts = torch.zeros(0, device=setup.device)

    def observe(self, x: Tensor, y: Tensor | None) -> Mapping[str, float]:
        missing = self.clusters - len(self._centres)
        if missing > 0:
            initial = _distinct(x, self._centres)[:missing]
            self._centres = torch.cat((self._centres, initial))
            self._counts = torch.cat((self._counts, torch.zeros(len(initial), device=x.device)))
        distances = torch.cdist(x, self._centres)
        nearest = distances.argmin(1)
        count = torch.zeros_like(self._counts).index_add_(0, nearest, torch.ones(len(x), device=x.device))
        total = torch.zeros_like(self._centres).index_add_(0, nearest, x)
        self._counts = self._counts + count
        rates = 1 / self._counts.clamp(min=1)
        self._centres = self._centres + rates[:, None] * (total - count[:, None] * self._centres)
        return {"inertia": float(distances.amin(1).square().mean())}

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """Predict clusters (B,) int64 for raw inputs (B, *observation); cluster 0 before any training."""
        return self._distances(x).argmin(1).cpu(), None

    def inertia(self, x: Any) -> Tensor:
        """Encode raw inputs and return their squared distances (B,) to the nearest centres."""
        return self._distances(x).amin(1).square().cpu()

    def _distances(self, x: Any) -> Tensor:
        z = self.features(x)
        return torch.cdist(z, self._centres if len(self._centres) else torch.zeros(1, z.shape[1], device=z.device))

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        raise UnsupportedError("its output is a cluster, which is not a class, number, reconstruction or action")

    def statistics(self) -> dict[str, Any]:
        return {"centres": self._centres, "counts": self._counts}

    def load_statistics(self, state: Mapping[str, Any]) -> None:
        device = self._centres.device
        self._centres, self._counts = state["centres"].to(device), state["counts"].to(device)


def _distinct(x: Tensor, existing: Tensor) -> Tensor:
    """Return the distinct rows of x (B, F) in their order, without the existing rows."""
    seen = {tuple(row) for row in existing.tolist()}
    indices = []
    for index, row in enumerate(x.tolist()):
        if tuple(row) not in seen:
            seen.add(tuple(row))
            indices.append(index)
    return x[indices]
