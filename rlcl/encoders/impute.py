"""Missing values filled in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.types import Encoder

__all__ = ["Impute"]


@define(kw_only=True, eq=False)
class Impute(Encoder):
    """Puts a number in the place of each NaN, found for each feature in the first inputs that it is fitted on.

    Args:
        strategy: what is put in: the feature's ``mean``, ``median`` or ``most_frequent`` value (the least of
            several), or ``constant``: ``value``.
        value: of ``constant``, and of features that are missing in all inputs that it is fitted on.
        indicator: whether a 1 for each value that was missing, and a 0 for each other, is appended.
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
            found = values.nanmean(0)
        elif self.strategy == "median":
            found = (values.nanmedian(0).values - (-values).nanmedian(0).values) / 2  # of an even number, the middle
        elif self.strategy == "most_frequent":
            found = torch.stack([_most_frequent(column[~column.isnan()]) for column in values.T])
        else:
            found = torch.full_like(values[0], self.value)
        self._fill = torch.where(found.isnan(), self.value, found).to(torch.float32).reshape(x.shape[1:])

    def encode(self, x: Tensor) -> Tensor:
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
    found, counts = torch.unique(values, return_counts=True)
    most: Tensor = found[counts == counts.max()].min()
    return most
