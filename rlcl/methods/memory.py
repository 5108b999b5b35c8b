"""A memory of examples of fixed size, filled by reservoir sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from attrs import define, field
from torch import Tensor

__all__ = ["ReservoirMemory", "reservoir_slots"]


@define(eq=False)
class ReservoirMemory:
    """Keeps a uniform sample of everything inserted, in contiguous tensors that are allocated once.

    Args:
        capacity: items kept, at least 1.
        rng: decides what is kept and what is drawn.

    Source: Vitter 1985, Random sampling with a reservoir, algorithm R.
    """

    capacity: int
    rng: np.random.Generator
    seen: int = field(init=False, default=0)
    _columns: dict[str, Tensor] = field(init=False, factory=dict)

    def __len__(self) -> int:
        return min(self.seen, self.capacity)

    @property
    def bytes(self) -> int:
        """What the memory's tensors take."""
        return sum(column.numel() * column.element_size() for column in self._columns.values())

    def insert(self, **items: Tensor | None) -> None:
        """Offers items.

        Args:
            items: columns (B, ...) by name, the same names at each call; None where there is none.
        """
        columns = {name: value.detach() for name, value in items.items() if value is not None}
        count = len(next(iter(columns.values())))
        for name, value in columns.items():
            if name not in self._columns:
                self._columns[name] = value.new_zeros((self.capacity, *value.shape[1:]))
        slots, rows = reservoir_slots(self.seen, count, self.capacity, self.rng)
        self.seen += count
        if len(slots):
            to, of = torch.from_numpy(slots), torch.from_numpy(rows)
            for name, value in columns.items():
                self._columns[name][to.to(value.device)] = value[of.to(value.device)]

    def draw(self, count: int) -> dict[str, Tensor]:
        """At most ``count`` items without replacement, columns (B, ...) by name."""
        rows = torch.from_numpy(self.rng.choice(len(self), min(count, len(self)), replace=False, shuffle=False))
        return {name: column.index_select(0, rows.to(column.device)) for name, column in self._columns.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "rng": self.rng.bit_generator.state, "columns": dict(self._columns)}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Restores what :meth:`state_dict` gave, on the device that items come from."""
        self.seen = state["seen"]
        self.rng.bit_generator.state = state["rng"]
        self._columns = {name: column.to(device) for name, column in state["columns"].items()}


def reservoir_slots(
    seen: int, count: int, capacity: int, rng: np.random.Generator
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Which of the next items are kept, and where.

    Args:
        seen: items offered before.
        count: items offered now.
        capacity: slots there are.
        rng: draws one whole number an item once the memory is full.

    Returns:
        Slots (K,) and rows (K,) of the items for them, no slot twice: what would be overwritten
        within the same call is left out.
    """
    place = seen + np.arange(count)
    slots = place.copy()
    late = place >= capacity
    if late.any():
        slots[late] = rng.integers(0, place[late] + 1)
    rows = np.flatnonzero(slots < capacity)
    last_first, first_seen = np.unique(slots[rows][::-1], return_index=True)
    return last_first, rows[::-1][first_seen]
