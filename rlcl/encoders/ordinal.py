"""Values to their places in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.encoders.ranks import Ranked
from rlcl.types import Encoder

__all__ = ["Ordinal"]


@define(eq=False)
class Ordinal(Encoder):
    """Each feature's values, in ascending order, to 1, 2, ...; 0 for what is missing or was not there in fitting.

    The values are those of the first inputs that it is fitted on. ``one_hot`` with one class more than there are values
    makes indicators of them.
    """

    _values: tuple[Tensor, ...] | None = field(init=False, default=None)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return observation_shape

    def fit(self, x: Tensor) -> None:
        if self._values is None:
            columns = x.flatten(1).double().T
            self._values = tuple(column[~column.isnan()].unique() for column in columns)

    def encode(self, x: Tensor) -> Tensor:
        values = x.flatten(1).double()
        if self._values is None:
            return torch.zeros_like(values, dtype=torch.float32).reshape(x.shape)
        known = Ranked(self._values)
        places = known.below(values)
        there = (places < known.counts.to(x.device)) & (known.at(places) == values)
        return torch.where(there, places + 1, 0).to(torch.float32).reshape(x.shape)

    def state_dict(self) -> dict[str, Any]:
        return {"values": self._values}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._values = state["values"]
