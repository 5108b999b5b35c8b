"""Ordinal encoding of the distinct values of each feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.encoders.sorted_values import SortedValues
from rlcl.types import Encoder, TaskIds

__all__ = ["Ordinal"]


@define(eq=False)
class Ordinal(Encoder):
    """Ordinal encoding of each feature's distinct values, in ascending order, as 1, 2, ...; 0 for missing and new ones.

    The distinct values are those of the first inputs of the fit. A subsequent ``one_hot`` needs one class more than
    there are distinct values.
    """

    _values: tuple[Tensor, ...] | None = field(init=False, default=None)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return observation_shape

    def fit(self, x: Tensor) -> None:
        if self._values is None:
            columns = x.flatten(1).double().T
            self._values = tuple(column[~column.isnan()].unique() for column in columns)

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        values = x.flatten(1).double()
        if self._values is None:
            return torch.zeros_like(values, dtype=torch.float32).reshape(x.shape)
        known = SortedValues(self._values)
        ranks = known.count_below(values)
        is_known = (ranks < known.counts.to(x.device)) & (known.at(ranks) == values)
        return torch.where(is_known, ranks + 1, 0).to(torch.float32).reshape(x.shape)

    def state_dict(self) -> dict[str, Any]:
        return {"values": self._values}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._values = state["values"]
