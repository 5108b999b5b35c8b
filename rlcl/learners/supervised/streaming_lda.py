"""Streaming linear discriminant analysis, a closed-form baseline for continual learning."""

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

__all__ = ["StreamingLda"]


@define(kw_only=True, eq=False)
class StreamingLda(OnePassLearner):
    """Linear discriminant analysis with one mean per class and a covariance shared by all classes.

    The covariance is the exact pooled covariance, so the result does not depend on the order of samples within an
    experience. The streaming update of the paper is an approximation of it.

    Args:
        batch_size: samples in a minibatch.
        shrinkage: epsilon in (1 - epsilon) covariance + epsilon identity.

    Source: Hayes & Kanan 2020, Lifelong machine learning with deep streaming LDA, eqs. 1 to 4.
    """

    shrinkage: float = option(1e-4, gt=0, le=1)
    _means: Tensor = field(init=False, default=None)
    _counts: Tensor = field(init=False, default=None)
    _scatter: Tensor = field(init=False, default=None)

    @property
    def measures(self) -> tuple[str, ...]:
        return ("accuracy",)

    needs = frozenset({"labelled"})

    def start(self, setup: Setup, features: int) -> None:
        kwargs: dict[str, Any] = {"dtype": torch.float64, "device": setup.device}
        self._means = torch.zeros(setup.spec.classes, features, **kwargs)
        self._counts = torch.zeros(setup.spec.classes, **kwargs)
        self._scatter = torch.zeros(features, features, **kwargs)

    def observe(self, x: Tensor, y: Tensor | None) -> Mapping[str, float]:
        assert y is not None
        x, y = x.double(), y.to(x.device)
        counts = torch.zeros_like(self._counts).index_add_(0, y, torch.ones_like(y, dtype=torch.float64))
        sums = torch.zeros_like(self._means).index_add_(0, y, x)
        means = sums / counts.clamp(min=1)[:, None]
        within = x - means[y]
        # Merging two sets of samples of a class adds the scatter between their means (Chan et al. 1983, eq. 1.5).
        between = (means - self._means) * (counts * self._counts / (counts + self._counts).clamp(min=1)).sqrt()[:, None]
        self._scatter += within.T @ within + between.T @ between
        total = (counts + self._counts).clamp(min=1)
        self._means = (self._means * self._counts[:, None] + sums) / total[:, None]
        self._counts = self._counts + counts
        return {"classes": float((self._counts > 0).sum())}

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """Predict classes (B,) int64 for raw inputs (B, *observation)."""
        covariance = self._scatter / self._counts.sum().clamp(min=1)
        identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
        weights = torch.linalg.solve((1 - self.shrinkage) * covariance + self.shrinkage * identity, self._means.T)
        scores = self.features(x, task_id).double() @ weights - 0.5 * (self._means.T * weights).sum(0)
        scores[:, self._counts == 0] = -torch.inf
        return scores.argmax(1).cpu(), None

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        raise UnsupportedError("it predicts with a covariance matrix and has no network; use classifier")

    def statistics(self) -> dict[str, Any]:
        return {"means": self._means, "counts": self._counts, "scatter": self._scatter}

    def load_statistics(self, state: Mapping[str, Any]) -> None:
        device = self._means.device
        self._means, self._counts = state["means"].to(device), state["counts"].to(device)
        self._scatter = state["scatter"].to(device)
