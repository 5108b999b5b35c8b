"""Reservoir memory: a uniform sample of all examples offered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define
from torch import Tensor

from rlcl.methods.memories.memory import Memory

__all__ = ["ReservoirMemory", "reservoir_slots"]


@define(eq=False)
class ReservoirMemory(Memory):
    """Memory of a uniform sample of all inserted items.

    Source: Vitter 1985, Random sampling with a reservoir, algorithm R.
    """

    def __len__(self) -> int:
        return 0 if self.capacity is None else min(self.seen, self.capacity)

    def _insert(self, count: int, columns: Mapping[str, Tensor]) -> None:
        assert self.capacity is not None
        self._allocate(self.capacity, columns)
        if self.seen + count <= self.capacity:
            for name, value in columns.items():
                self._columns[name][self.seen : self.seen + count] = value
            return
        self._write(*reservoir_slots(self.seen, count, self.capacity, self.rng), columns)


def reservoir_slots(
    seen: int, count: int, capacity: int, rng: np.random.Generator
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Select the items to store among the next items, and their slots.

    Args:
        seen: number of items offered before.
        count: number of items offered now.
        capacity: number of slots.
        rng: samples one number per item once the memory is full.

    Returns:
        Slots (K,) and rows (K,) of their items. No slot occurs twice: items that would be overwritten
        within the same call are omitted.
    """
    slots = np.arange(seen, seen + count)
    free = max(capacity - seen, 0)  # items that fit into free slots
    if free < count:
        # A truncated uniform float times n is an integer below n, in a fifth of the time of `integers`.
        slots[free:] = rng.random(count - free) * (slots[free:] + 1)
    rows = np.flatnonzero(slots < capacity)
    slots = slots[rows]
    if len(rows) > 1:
        last = dict(zip(slots.tolist(), rows.tolist(), strict=True))
        if len(last) < len(rows):
            return np.array(list(last)), np.array(list(last.values()))
    return slots, rows
