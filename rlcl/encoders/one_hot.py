"""One-hot encoding of integers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.errors import DataError, UnsupportedError
from rlcl.types import Encoder, Stream, TaskIds

__all__ = ["OneHot"]


@define(kw_only=True)
class OneHot(Encoder):
    """One-hot encoding of integers (B, *observation) in [0, classes) to (B, features * classes).

    A missing value (NaN) becomes a vector of zeros.

    Args:
        classes: number of values; null for the number of categories of each column of a ``table``.
    """

    classes: int | None = option(None, ge=2)
    _widths: tuple[int, ...] = field(init=False, default=())

    def adapt(self, stream: Stream) -> Stream:
        """Read the number of categories of each column from the stream; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: the stream has no categorical columns, or has numeric ones, and ``classes`` is not set.
        """
        if self.classes is None:
            columns = stream.spec.columns
            if not columns or not all(column.categorical for column in columns):
                raise UnsupportedError(
                    "encoder one_hot: set classes, the number of values; it is known for categorical columns only "
                    "(encoder: {type: columns, categorical: one_hot})"
                )
            self._widths = tuple(len(column.categories) for column in columns)
        return stream

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (sum(self._classes_by_feature(math.prod(observation_shape))),)

    def fit(self, x: Tensor) -> None:
        if self.classes is None:
            return
        known = x[~x.isnan()] if x.is_floating_point() else x
        low, high = (float(known.min()), float(known.max())) if known.numel() else (0.0, 0.0)
        if low < 0 or high >= self.classes or bool((known != known.round()).any() if x.is_floating_point() else False):
            raise DataError(f"encoder one_hot: expected integers in 0..{self.classes - 1}, got {low} to {high}")

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        values = x.flatten(1)
        absent = values.isnan() if x.is_floating_point() else torch.zeros_like(values, dtype=torch.bool)
        known = torch.where(absent, 0, values).long()
        if self.classes is not None:
            vectors = F.one_hot(known.clamp(0, self.classes - 1), self.classes)
            return (vectors * ~absent[..., None]).flatten(1).to(torch.float32)
        features = zip(known.T, absent.T, self._widths, strict=True)
        parts = [F.one_hot(k.clamp(0, width - 1), width) * ~a[:, None] for k, a, width in features]
        return torch.cat(parts, 1).to(torch.float32)

    def _classes_by_feature(self, features: int) -> tuple[int, ...]:
        return self._widths if self.classes is None else (self.classes,) * features

    def state_dict(self) -> dict[str, Any]:
        return {"widths": self._widths}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._widths = tuple(state.get("widths", ()))  # absent from older checkpoints
