"""Imputation of missing values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.types import Encoder, TaskIds

__all__ = ["Impute"]


@define(kw_only=True, eq=False)
class Impute(Encoder):
    """Replacement of each NaN by a value per feature, fitted on the first inputs.

    Args:
        strategy: replacement: the feature's ``mean``, ``median`` or ``most_frequent`` value (the smallest of several),
            or ``constant``: ``value``.
        value: value of ``constant``, and of features that are missing in all inputs of the fit.
        indicator: whether to append an indicator for each value: 1 if it was missing, else 0.
    """

    strategy: Literal["mean", "median", "most_frequent", "constant"] = option("mean")
    value: float = option(0.0)
    indicator: bool = option(False)
    _fill: Tensor | None = field(init=False, default=None)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (2 * math.prod(observation_shape),) if self.indicator else observation_shape

    def fit(self, x: Tensor) -> None:
        if self._fill is not None:
            return
        values = x.flatten(1).double()
        if self.strategy == "mean":
            fill = values.nanmean(0)
        elif self.strategy == "median":
            fill = (values.nanmedian(0).values - (-values).nanmedian(0).values) / 2  # mean of the two middle values
        elif self.strategy == "most_frequent":
            fill = torch.stack([_most_frequent(column[~column.isnan()]) for column in values.T])
        else:
            fill = torch.full_like(values[0], self.value)
        self._fill = torch.where(fill.isnan(), self.value, fill).to(torch.float32).reshape(x.shape[1:])

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        values = x.to(torch.float32)
        absent = values.isnan()
        fill = values.new_tensor(self.value) if self._fill is None else self._fill.to(values)
        filled = torch.where(absent, fill, values)
        return torch.cat((filled.flatten(1), absent.flatten(1).to(torch.float32)), 1) if self.indicator else filled

    def state_dict(self) -> dict[str, Any]:
        return {"fill": self._fill}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._fill = state["fill"]


def _most_frequent(values: Tensor) -> Tensor:
    if not len(values):
        return values.new_tensor(math.nan)
    distinct, counts = torch.unique(values, return_counts=True)
    most_frequent: Tensor = distinct[counts == counts.max()].min()
    return most_frequent
