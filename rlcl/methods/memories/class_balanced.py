"""Class-balanced memories: a uniform sample of each class, and the first examples of each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.methods.memories.memory import Memory

__all__ = ["BalancedMemory", "GreedyMemory"]


@define(eq=False)
class BalancedMemory(Memory):
    """Memory of a uniform sample of each class, with class sizes as equal as the data allow.

    With ``per_class``, each class has a separate reservoir of that size. With a capacity, an item of a class that
    is not among the largest replaces an item of the largest class. A class that has ever been the largest
    continues as a reservoir in its slots. A hidden label, -1, counts as a class.

    Args:
        per_class: examples stored of each class; None if the classes seen so far share the capacity.

    Source: Chrysakis & Moens 2020, Online continual learning from imbalanced data, algorithm 1;
    with ``per_class`` Vitter 1985, algorithm R, for each class.
    """

    per_class: int | None = field(default=None, kw_only=True)
    _slots: dict[int, list[int]] = field(init=False, factory=dict)
    _offered: dict[int, int] = field(init=False, factory=dict)
    _full: set[int] = field(init=False, factory=set)
    _size: int = field(init=False, default=0)

    def __len__(self) -> int:
        return self._size

    def _insert(self, count: int, columns: Mapping[str, Tensor]) -> None:
        # The row for each slot; the later of two rows for the same slot is stored.
        rows: dict[int, int] = {}
        numbers = self.rng.random((count, 2)).tolist()
        for row, (label, (first, second)) in enumerate(zip(columns["targets"].tolist(), numbers, strict=True)):
            slot = self._slot(label, first, second)
            if slot is not None:
                rows[slot] = row
        self._allocate(self._available_slots, columns)
        self._write(list(rows), list(rows.values()), columns)

    @property
    def _available_slots(self) -> int:
        if self.per_class is not None:
            return self.per_class * len(self._slots)
        assert self.capacity is not None
        return self.capacity

    def _slot(self, label: int, first: float, second: float) -> int | None:
        """Return the slot for an item of a class, or None to discard it; the numbers are uniform in [0, 1)."""
        own = self._slots.setdefault(label, [])
        self._offered[label] = self._offered.get(label, 0) + 1
        if len(own) < self.per_class if self.per_class is not None else self._size < self._available_slots:
            own.append(self._size)
            self._size += 1
        elif self.per_class is None and label not in self._largest():
            return self._take_slot(own, first, second)
        else:
            index = int(first * self._offered[label])
            return own[index] if index < len(own) else None
        return own[-1]

    def _largest(self) -> set[int]:
        """Return the classes that are, or have been, the largest of a full memory."""
        maximum = max(map(len, self._slots.values()))
        self._full |= {label for label, slots in self._slots.items() if len(slots) == maximum}
        return self._full

    def _take_slot(self, own: list[int], first: float, second: float) -> int:
        """Move a random slot of one of the largest classes to the slots ``own``, and return it."""
        maximum = max(map(len, self._slots.values()))
        largest = [slots for slots in self._slots.values() if len(slots) == maximum]
        donor = largest[int(first * len(largest))]
        index = int(second * maximum)
        donor[index], donor[-1] = donor[-1], donor[index]
        own.append(donor.pop())
        return own[-1]

    def state_dict(self) -> dict[str, Any]:
        classes = [
            [label, list(slots), self._offered[label], label in self._full] for label, slots in self._slots.items()
        ]
        return {**super().state_dict(), "size": self._size, "classes": classes}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        super().load_state_dict(state, device)
        self._size = state["size"]
        self._slots = {label: list(slots) for label, slots, _, _ in state["classes"]}
        self._offered = {label: offered for label, _, offered, _ in state["classes"]}
        self._full = {label for label, _, _, full in state["classes"] if full}


@define(eq=False)
class GreedyMemory(Memory):
    """Memory of the first items of each class, up to capacity / k items for each of the k classes seen.

    In a full memory, an item of a class with fewer items replaces a random item of the largest class.

    Source: Prabhu et al. 2020, GDumb, algorithm 1.
    """

    _slots: dict[int, list[int]] = field(init=False, factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def _insert(self, count: int, columns: Mapping[str, Tensor]) -> None:
        assert self.capacity is not None
        self._allocate(self.capacity, columns)
        rows: dict[int, int] = {}
        size, numbers = len(self), self.rng.random(count).tolist()
        for row, label in enumerate(columns["targets"].tolist()):
            own = self._slots.setdefault(label, [])
            if len(own) >= self.capacity / len(self._slots):
                continue
            if size < self.capacity:
                own.append(size)
                size += 1
            else:
                largest = max(self._slots.values(), key=len)
                own.append(largest.pop(int(numbers[row] * len(largest))))
            rows[own[-1]] = row
        self._write(list(rows), list(rows.values()), columns)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "classes": [[label, list(slots)] for label, slots in self._slots.items()]}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        super().load_state_dict(state, device)
        self._slots = {label: list(slots) for label, slots in state["classes"]}
