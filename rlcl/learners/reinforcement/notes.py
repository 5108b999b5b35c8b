"""Numbers that a learner notes between two events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field
from torch import Tensor

__all__ = ["Notes"]


@define(eq=False)
class Notes:
    """Numbers by name, of each of which the next event reports the mean."""

    values: dict[str, list[Any]] = field(init=False, factory=dict)

    def add(self, **values: Tensor | float) -> None:
        """Note numbers, or scalars without gradient: they are read when they are reported, and not before."""
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        """The mean of each since the last call."""
        found = {name: float(np.mean([float(v) for v in values])) for name, values in self.values.items()}
        self.values.clear()
        return found

    def state_dict(self) -> dict[str, list[float]]:
        return {name: [float(v) for v in values] for name, values in self.values.items()}

    def load_state_dict(self, state: Mapping[str, list[float]]) -> None:
        self.values = {name: list(values) for name, values in state.items()}
