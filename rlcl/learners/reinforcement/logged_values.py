"""Values that a learner logs between two events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field
from torch import Tensor

__all__ = ["LoggedValues"]


@define(eq=False)
class LoggedValues:
    """Logged values by name, whose means the next event reports."""

    values: dict[str, list[Any]] = field(init=False, factory=dict)

    def add(self, **values: Tensor | float) -> None:
        """Log numbers or scalar tensors without gradient; tensors are read from the device when they are reported."""
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        """Return the mean of each value since the last call."""
        means = {name: float(np.mean([float(v) for v in values])) for name, values in self.values.items()}
        self.values.clear()
        return means

    def state_dict(self) -> dict[str, list[float]]:
        return {name: [float(v) for v in values] for name, values in self.values.items()}

    def load_state_dict(self, state: Mapping[str, list[float]]) -> None:
        self.values = {name: list(values) for name, values in state.items()}
