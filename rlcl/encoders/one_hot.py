"""Whole numbers to indicator vectors."""

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
from rlcl.types import Encoder, Stream

__all__ = ["OneHot"]


@define(kw_only=True)
class OneHot(Encoder):
    """(B, *observation) whole numbers in [0, classes) to (B, features * classes) of 0 and 1.

    What is missing (NaN) becomes zeros alone.

    Args:
        classes: how many values there are; None for the categories of each column of a ``table``.
    """

    classes: int | None = option(None, ge=2)
    _widths: tuple[int, ...] = field(init=False, default=())

    def adapt(self, stream: Stream) -> Stream:
        """Learns from the stream how many categories each column has; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: it does not say so, and ``classes`` is not given.
        """
        if self.classes is None:
            columns = stream.spec.columns
            if not columns or not all(column.categorical for column in columns):
                raise UnsupportedError(
                    "encoder one_hot: set classes, how many values there are; columns of texts alone say it themselves "
                    "(encoder: {type: columns, categorical: one_hot})"
                )
            self._widths = tuple(len(column.categories) for column in columns)
        return stream

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (sum(self._of_each(math.prod(observation_shape))),)

    def fit(self, x: Tensor) -> None:
        if self.classes is None:
            return
        known = x[~x.isnan()] if x.is_floating_point() else x
        low, high = (float(known.min()), float(known.max())) if known.numel() else (0.0, 0.0)
        if low < 0 or high >= self.classes or bool((known != known.round()).any() if x.is_floating_point() else False):
            raise DataError(f"encoder one_hot: expected whole numbers in 0..{self.classes - 1}, got {low} to {high}")

    def encode(self, x: Tensor) -> Tensor:
        values = x.flatten(1)
        absent = values.isnan() if x.is_floating_point() else torch.zeros_like(values, dtype=torch.bool)
        known = torch.where(absent, 0, values).long()
        if self.classes is not None:
            places = F.one_hot(known.clamp(0, self.classes - 1), self.classes)
            return (places * ~absent[..., None]).flatten(1).to(torch.float32)
        each = zip(known.T, absent.T, self._widths, strict=True)
        parts = [F.one_hot(k.clamp(0, width - 1), width) * ~a[:, None] for k, a, width in each]
        return torch.cat(parts, 1).to(torch.float32)

    def _of_each(self, features: int) -> tuple[int, ...]:
        return self._widths if self.classes is None else (self.classes,) * features

    def state_dict(self) -> dict[str, Any]:
        return {"widths": self._widths}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._widths = tuple(state.get("widths", ()))  # a checkpoint from before there were any has none
