"""Memories of examples in contiguous tensors: the base class, and a memory that stores all examples."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from attrs import define, field
from torch import Tensor

from rlcl.errors import UnsupportedError

__all__ = ["Memory", "WholeMemory"]

Indices = Sequence[int] | np.ndarray[Any, Any]


@define(eq=False)
class Memory(ABC):
    """Base of memories: examples in contiguous, preallocated tensors. Subclasses select the stored examples.

    A column has the dtype of the inserted values. The examples occupy the first slots, without gaps.

    Args:
        capacity: maximum number of examples; None if ``capacity_bytes`` or the subclass determines it.
        rng: random generator for the selection and for sampling.
        capacity_bytes: maximum size of all columns in bytes; the capacity follows from the size of the first example.
    """

    capacity: int | None
    rng: np.random.Generator
    capacity_bytes: int | None = field(default=None, kw_only=True)
    seen: int = field(init=False, default=0)
    _columns: dict[str, Tensor] = field(init=False, factory=dict)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _insert(self, count: int, columns: Mapping[str, Tensor]) -> None:
        """Write the selected ones of ``count`` items."""

    @property
    def bytes(self) -> int:
        """The size of the memory's tensors in bytes."""
        return sum(column.numel() * column.element_size() for column in self._columns.values())

    def insert(self, **items: Tensor | None) -> None:
        """Offer items to the memory.

        Args:
            items: columns (B, ...) by name, with the same names in each call. None values are ignored.

        Raises:
            UnsupportedError: a single item exceeds ``capacity_bytes``.
        """
        columns = {name: value.detach() for name, value in items.items() if value is not None}
        if self.capacity is None and self.capacity_bytes is not None:
            self.capacity = _capacity(columns, self.capacity_bytes)
        count = len(next(iter(columns.values())))
        self._insert(count, columns)
        self.seen += count

    def clear(self) -> None:
        """Remove all items, but keep the random generator and the capacity, also one computed from bytes."""
        empty = attrs.evolve(self)
        for attribute in attrs.fields(type(self)):
            setattr(self, attribute.name, getattr(empty, attribute.name))

    def sample(self, count: int) -> dict[str, Tensor]:
        """Sample at most ``count`` items without replacement, as columns (B, ...) by name."""
        return self.at(self.rng.choice(len(self), min(count, len(self)), replace=False, shuffle=False))

    def sample_evenly(self, count: int, column: str) -> dict[str, Tensor]:
        """Sample the same number of items for each value of a column: an equal share of ``count``, rounded up.

        Sampling is without replacement; a value with too few items contributes all of them.
        """
        values = self._columns[column][: len(self)].cpu().numpy()
        groups = [np.flatnonzero(values == value) for value in np.unique(values)]
        share = math.ceil(count / len(groups))
        slots = [self.rng.choice(g, min(share, len(g)), replace=False, shuffle=False) for g in groups]
        return self.at(np.concatenate(slots))

    def contents(self) -> dict[str, Tensor]:
        """Return all items as columns (N, ...) by name, which are views of the memory's tensors."""
        return {name: column[: len(self)] for name, column in self._columns.items()}

    def at(self, slots: np.ndarray[Any, Any] | Tensor) -> dict[str, Tensor]:
        """Return the items in the slots (B,) as columns (B, ...) by name."""
        rows = torch.as_tensor(slots)
        return {name: column.index_select(0, rows.to(column.device)) for name, column in self._columns.items()}

    def _allocate(self, slots: int, columns: Mapping[str, Tensor]) -> None:
        """Allocate columns with at least this number of slots, and keep the stored items."""
        for name, value in columns.items():
            old = self._columns.get(name)
            if old is None or len(old) < slots:
                self._columns[name] = value.new_zeros((slots, *value.shape[1:]))
                if old is not None:
                    self._columns[name][: len(old)] = old

    def _write(self, slots: Indices, rows: Indices, columns: Mapping[str, Tensor]) -> None:
        """Write rows of the columns into slots, each slot at most once."""
        if len(slots):
            targets, sources = torch.as_tensor(slots), torch.as_tensor(rows)
            for name, value in columns.items():
                device = value.device
                self._columns[name].index_copy_(0, targets.to(device), value.index_select(0, sources.to(device)))

    def state_dict(self) -> dict[str, Any]:
        return {
            "seen": self.seen,
            "rng": self.rng.bit_generator.state,
            "capacity": self.capacity,
            "columns": dict(self._columns),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Restore a state of :meth:`state_dict`, on the device of the items."""
        self.seen, self.capacity = state["seen"], state["capacity"]
        self.rng.bit_generator.state = state["rng"]
        self._columns = {name: column.to(device) for name, column in state["columns"].items()}


def _capacity(columns: Mapping[str, Tensor], limit: int) -> int:
    """Return the number of items that fit into a number of bytes."""
    size = sum(column[:1].numel() * column.element_size() for column in columns.values())
    if size > limit:
        raise UnsupportedError(f"capacity_bytes: expected at least {size}, the size of one example, got {limit}")
    return limit // size


@define(eq=False)
class WholeMemory(Memory):
    """Memory that stores all inserted items and grows with them, for examples that were selected before."""

    def __len__(self) -> int:
        return self.seen

    def _insert(self, count: int, columns: Mapping[str, Tensor]) -> None:
        self._allocate(self.seen + count, columns)
        for name, value in columns.items():
            self._columns[name][self.seen :] = value
