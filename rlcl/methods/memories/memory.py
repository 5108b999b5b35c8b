"""A memory of examples in contiguous tensors, and one that keeps them all."""

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
    """Examples in contiguous tensors that are allocated once; a concrete memory says which are kept.

    A column has the dtype of what is inserted. The examples lie in the first slots, without a gap.

    Args:
        capacity: examples kept, in all; None where ``capacity_bytes`` says it, or the concrete memory.
        rng: decides what is kept and what is drawn.
        capacity_bytes: what all columns of all examples take at most; the capacity follows from the first example.
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
        """Writes what is to be kept of ``count`` items."""

    @property
    def bytes(self) -> int:
        """What the memory's tensors take."""
        return sum(column.numel() * column.element_size() for column in self._columns.values())

    def insert(self, **items: Tensor | None) -> None:
        """Offers items.

        Args:
            items: columns (B, ...) by name, the same names at each call; None where there is none.

        Raises:
            UnsupportedError: not even one item fits into ``capacity_bytes``.
        """
        columns = {name: value.detach() for name, value in items.items() if value is not None}
        if self.capacity is None and self.capacity_bytes is not None:
            self.capacity = _capacity(columns, self.capacity_bytes)
        count = len(next(iter(columns.values())))
        self._insert(count, columns)
        self.seen += count

    def clear(self) -> None:
        """Drops all items. The generator goes on, and a capacity that was found from bytes stays."""
        empty = attrs.evolve(self)
        for each in attrs.fields(type(self)):
            setattr(self, each.name, getattr(empty, each.name))

    def draw(self, count: int) -> dict[str, Tensor]:
        """At most ``count`` items without replacement, columns (B, ...) by name."""
        return self.at(self.rng.choice(len(self), min(count, len(self)), replace=False, shuffle=False))

    def draw_evenly(self, count: int, column: str) -> dict[str, Tensor]:
        """As many items of each value of a column, without replacement: a share of ``count`` each, rounded up."""
        values = self._columns[column][: len(self)].cpu().numpy()
        groups = [np.flatnonzero(values == value) for value in np.unique(values)]
        share = math.ceil(count / len(groups))
        chosen = [self.rng.choice(g, min(share, len(g)), replace=False, shuffle=False) for g in groups]
        return self.at(np.concatenate(chosen))

    def held(self) -> dict[str, Tensor]:
        """All items, columns (N, ...) by name, which are the memory's own tensors."""
        return {name: column[: len(self)] for name, column in self._columns.items()}

    def at(self, slots: np.ndarray[Any, Any] | Tensor) -> dict[str, Tensor]:
        """The items in those slots (B,), columns (B, ...) by name."""
        rows = torch.as_tensor(slots)
        return {name: column.index_select(0, rows.to(column.device)) for name, column in self._columns.items()}

    def _allocate(self, slots: int, columns: Mapping[str, Tensor]) -> None:
        """Makes room for that many items, keeping what there is."""
        for name, value in columns.items():
            old = self._columns.get(name)
            if old is None or len(old) < slots:
                self._columns[name] = value.new_zeros((slots, *value.shape[1:]))
                if old is not None:
                    self._columns[name][: len(old)] = old

    def _write(self, slots: Indices, rows: Indices, columns: Mapping[str, Tensor]) -> None:
        """Puts the rows of columns into slots, no slot named twice."""
        if len(slots):
            to, of = torch.as_tensor(slots), torch.as_tensor(rows)
            for name, value in columns.items():
                device = value.device
                self._columns[name].index_copy_(0, to.to(device), value.index_select(0, of.to(device)))

    def state_dict(self) -> dict[str, Any]:
        return {
            "seen": self.seen,
            "rng": self.rng.bit_generator.state,
            "capacity": self.capacity,
            "columns": dict(self._columns),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Restores what :meth:`state_dict` gave, on the device that items come from."""
        self.seen, self.capacity = state["seen"], state["capacity"]
        self.rng.bit_generator.state = state["rng"]
        self._columns = {name: column.to(device) for name, column in state["columns"].items()}


def _capacity(columns: Mapping[str, Tensor], limit: int) -> int:
    """How many items fit into that many bytes."""
    each = sum(column[:1].numel() * column.element_size() for column in columns.values())
    if each > limit:
        raise UnsupportedError(f"capacity_bytes: an example takes {each} bytes as it is stored, and {limit} hold none")
    return limit // each


@define(eq=False)
class WholeMemory(Memory):
    """Keeps everything inserted, and grows with it: for what was chosen before, at boundaries."""

    def __len__(self) -> int:
        return self.seen

    def _insert(self, count: int, columns: Mapping[str, Tensor]) -> None:
        self._allocate(self.seen + count, columns)
        for name, value in columns.items():
            self._columns[name][self.seen :] = value
