"""Principal component analysis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.types import Encoder, TaskIds

__all__ = ["Pca"]


@define(kw_only=True)
class Pca(Encoder):
    """Projection on the directions of maximum variance of the first inputs of the fit.

    Components beyond the rank of these inputs are 0.

    Args:
        components: number of directions.
        whiten: whether each component is scaled to unit variance.

    Source: Pearson 1901; Hotelling 1933.
    """

    components: int = option(32, ge=1)
    whiten: bool = option(False)
    _mean: Tensor | None = field(init=False, default=None)
    _directions: Tensor | None = field(init=False, default=None)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        features = math.prod(observation_shape)
        if self.components > features:
            raise UnsupportedError(
                f"encoder.components: expected at most {features}, the number of features, got {self.components}"
            )
        return (self.components,)

    def fit(self, x: Tensor) -> None:
        if self._directions is not None:
            return
        values = x.flatten(1).double()
        if not bool(values.isfinite().all()):
            raise UnsupportedError(
                "encoder pca: values are missing or infinite in the inputs of the fit; put impute before it"
            )
        self._mean = values.mean(0)
        variances, directions = _principal_directions(values, self.components)
        # The sign of an eigenvector is arbitrary: make its largest entry positive, the same on every machine.
        directions = directions * directions.gather(0, directions.abs().argmax(0, keepdim=True)).sign()
        if self.whiten:
            directions = directions / variances.clamp(min=torch.finfo(torch.float64).tiny).sqrt()
        self._directions = directions.contiguous()  # the memory layout, and so the last bit, is that of a loaded state

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        values = x.flatten(1).to(torch.float32)
        if self._mean is None or self._directions is None:
            return values[:, : self.components].clone()
        return (values - self._mean.to(values)) @ self._directions.to(values)

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self._mean, "directions": self._directions}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._mean, self._directions = state["mean"], state["directions"]


def _principal_directions(values: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Return the largest variances (K,) and their directions (D, K) of values (N, D), in descending order.

    With fewer rows than columns, the eigenvectors are computed from the products of rows, which are fewer. Directions
    without variance are 0.
    """
    rows, columns = values.shape
    if columns > rows:
        values = values - values.mean(0)
        matrix = values @ values.T / rows
    else:
        matrix = torch.cov(values.T, correction=0).view(columns, -1)
    variances, vectors = torch.linalg.eigh(matrix)
    size = min(components, len(variances))
    variances, vectors = variances[-size:].flip(0), vectors[:, -size:].flip(1)
    kept = variances > variances[0] * max(rows, columns) * torch.finfo(values.dtype).eps
    if columns > rows:
        vectors = values.T @ vectors / (rows * variances.clamp(min=torch.finfo(values.dtype).tiny)).sqrt()
    missing = components - size
    return F.pad(variances * kept, (0, missing)), F.pad(torch.where(kept, vectors, 0.0), (0, missing))
