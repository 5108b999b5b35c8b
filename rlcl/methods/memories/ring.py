"""Ring memory: the latest examples of each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.methods.memories.memory import Memory

__all__ = ["RingMemory"]


@define(eq=False)
class RingMemory(Memory):
    """Memory of the latest items of each class.

    Args:
        per_class: items stored of each class.

    Source: Chaudhry et al. 2019, On tiny episodic memories in continual learning, algorithm 3.
    """

    per_class: int = field(kw_only=True)
    _slots: dict[int, list[int]] = field(init=False, factory=dict)
    _offered: dict[int, int] = field(init=False, factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def _insert(self, count: int, columns: Mapping[str, Tensor]) -> None:
        rows: dict[int, int] = {}
        size = len(self)
        for row, label in enumerate(columns["targets"].tolist()):
            own, offered = self._slots.setdefault(label, []), self._offered.get(label, 0)
            self._offered[label] = offered + 1
            if offered < self.per_class:
                own.append(size)
                size += 1
            rows[own[offered % self.per_class]] = row
        self._allocate(self.per_class * len(self._slots), columns)
        self._write(list(rows), list(rows.values()), columns)

    def state_dict(self) -> dict[str, Any]:
        classes = [[label, list(slots), self._offered[label]] for label, slots in self._slots.items()]
        return {**super().state_dict(), "classes": classes}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        super().load_state_dict(state, device)
        self._slots = {label: list(slots) for label, slots, _ in state["classes"]}
        self._offered = {label: offered for label, _, offered in state["classes"]}
