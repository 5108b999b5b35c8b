"""Nearest-mean classifier, a closed-form baseline for continual learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.errors import UnsupportedError
from rlcl.learners.one_pass import OnePassLearner
from rlcl.types import Graph, Setup

__all__ = ["NearestMean"]


@define(kw_only=True, eq=False)
class NearestMean(OnePassLearner):
    """Classifier that predicts the class whose mean of encoded inputs is nearest.

    It forgets nothing, because the means do not depend on the order of the samples.

    Args:
        batch_size: samples in a minibatch.

    Source: Mensink et al. 2013, Distance-based image classification, section 3.1.
    """

    _sums: Tensor = field(init=False, default=None)
    _counts: Tensor = field(init=False, default=None)

    @property
    def measures(self) -> tuple[str, ...]:
        return ("accuracy",)

    needs = frozenset({"labelled"})

    def start(self, setup: Setup, features: int) -> None:
        self._sums = torch.zeros(setup.spec.classes, features, dtype=torch.float64, device=setup.device)
        self._counts = torch.zeros(setup.spec.classes, dtype=torch.float64, device=setup.device)

    def observe(self, x: Tensor, y: Tensor | None) -> Mapping[str, float]:
        assert y is not None
        y = y.to(x.device)
        self._sums.index_add_(0, y, x.double())
        self._counts.index_add_(0, y, torch.ones(len(y), dtype=torch.float64, device=x.device))
        return {"classes": float((self._counts > 0).sum())}

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """Predict classes (B,) int64 for raw inputs (B, *observation); class 0 before any training."""
        means = self._sums / self._counts.clamp(min=1)[:, None]
        distances = torch.cdist(self.features(x, task_id).double(), means)
        distances[:, self._counts == 0] = torch.inf
        return distances.argmin(1).cpu(), None

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        raise UnsupportedError("it predicts by distances to class means and has no network; use classifier")

    def statistics(self) -> dict[str, Any]:
        return {"sums": self._sums, "counts": self._counts}

    def load_statistics(self, state: Mapping[str, Any]) -> None:
        self._sums, self._counts = state["sums"].to(self._sums.device), state["counts"].to(self._counts.device)
