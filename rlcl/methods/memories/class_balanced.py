"""Memories balanced by class: a uniform sample of each class, and the first examples of each."""

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
    """Keeps a uniform sample of each class, and as many of each class as there are.

    With ``per_class``, each class has its own reservoir of that size. With a capacity, an item of a class that
    is not among the largest takes the place of one of the largest class; a class that has been the largest
    goes on as a reservoir in the slots that it has. A hidden label, -1, counts as a class.

    Args:
        per_class: examples kept of each class; None where the capacity is shared by the classes seen so far.

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
        # The slot of each row; of two rows with one slot the later stays.
        rows: dict[int, int] = {}
        draws = self.rng.random((count, 2)).tolist()
        for row, (label, numbers) in enumerate(zip(columns["targets"].tolist(), draws, strict=True)):
            slot = self._slot(label, *numbers)
            if slot is not None:
                rows[slot] = row
        self._allocate(self._room, columns)
        self._write(list(rows), list(rows.values()), columns)

    @property
    def _room(self) -> int:
        if self.per_class is not None:
            return self.per_class * len(self._slots)
        assert self.capacity is not None
        return self.capacity

    def _slot(self, label: int, first: float, second: float) -> int | None:
        """Where an item of a class goes, None where it is not kept; the numbers are uniform in [0, 1)."""
        own = self._slots.setdefault(label, [])
        self._offered[label] = self._offered.get(label, 0) + 1
        if len(own) < self.per_class if self.per_class is not None else self._size < self._room:
            own.append(self._size)
            self._size += 1
        elif self.per_class is None and label not in self._largest():
            return self._taken_over(own, first, second)
        else:
            place = int(first * self._offered[label])
            return own[place] if place < len(own) else None
        return own[-1]

    def _largest(self) -> set[int]:
        """The classes that are, or have been, the largest of a full memory."""
        most = max(map(len, self._slots.values()))
        self._full |= {label for label, slots in self._slots.items() if len(slots) == most}
        return self._full

    def _taken_over(self, own: list[int], first: float, second: float) -> int:
        """A slot of a largest class, which becomes one's own."""
        most = max(map(len, self._slots.values()))
        largest = [slots for slots in self._slots.values() if len(slots) == most]
        victim = largest[int(first * len(largest))]
        place = int(second * most)
        victim[place], victim[-1] = victim[-1], victim[place]
        own.append(victim.pop())
        return own[-1]

    def state_dict(self) -> dict[str, Any]:
        own = [[label, list(slots), self._offered[label], label in self._full] for label, slots in self._slots.items()]
        return {**super().state_dict(), "size": self._size, "classes": own}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        super().load_state_dict(state, device)
        self._size = state["size"]
        self._slots = {label: list(slots) for label, slots, _, _ in state["classes"]}
        self._offered = {label: offered for label, _, offered, _ in state["classes"]}
        self._full = {label for label, _, _, full in state["classes"] if full}


@define(eq=False)
class GreedyMemory(Memory):
    """Keeps the first items of each class, as many of each of the k classes seen as go into capacity / k slots.

    A class that has fewer takes a slot of the largest class, from an item drawn at random.

    Source: Prabhu et al. 2020, GDumb, algorithm 1.
    """

    _slots: dict[int, list[int]] = field(init=False, factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def _insert(self, count: int, columns: Mapping[str, Tensor]) -> None:
        assert self.capacity is not None
        self._allocate(self.capacity, columns)
        rows: dict[int, int] = {}
        size, draws = len(self), self.rng.random(count).tolist()
        for row, label in enumerate(columns["targets"].tolist()):
            own = self._slots.setdefault(label, [])
            if len(own) >= self.capacity / len(self._slots):
                continue
            if size < self.capacity:
                own.append(size)
                size += 1
            else:
                largest = max(self._slots.values(), key=len)
                own.append(largest.pop(int(draws[row] * len(largest))))
            rows[own[-1]] = row
        self._write(list(rows), list(rows.values()), columns)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "classes": [[label, list(slots)] for label, slots in self._slots.items()]}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        super().load_state_dict(state, device)
        self._slots = {label: list(slots) for label, slots in state["classes"]}
