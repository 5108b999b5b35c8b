"""Deletion of examples from the saved state of a memory."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import torch
from torch import Tensor

__all__ = ["example_count", "is_memory_state", "without_rows"]


def is_memory_state(state: Any) -> bool:
    """Return whether a value is the state of a non-empty :class:`rlcl.methods.memories.memory.Memory`."""
    if not isinstance(state, Mapping):
        return False
    return _is_columns(state) or ({"seen", "capacity", "columns"} <= state.keys() and bool(state["columns"]))


def _is_columns(state: Mapping[str, Any]) -> bool:
    """Return whether a state consists of columns of examples only, as ``gem`` stores them for each experience."""
    return "inputs" in state and all(isinstance(column, Tensor) for column in state.values())


def example_count(state: Mapping[str, Any]) -> int:
    """Return the number of examples in a memory's state; they are stored in its first slots."""
    if _is_columns(state):
        return len(state["inputs"])
    if "classes" in state:
        return sum(len(slots) for _, slots, *_ in state["classes"])
    if "scores" in state:
        return len(state["scores"])
    return min(int(state["seen"]), len(next(iter(state["columns"].values()))))


def without_rows(state: Mapping[str, Any], rows: Set[int]) -> dict[str, Any]:
    """Return a memory's state without some of its examples; later examples move to the free slots.

    The next examples fill the free slots. A reservoir is then no longer a uniform sample of all examples offered,
    because its count of examples seen is set to the number of examples stored.

    Args:
        state: of any of the memories of this package.
        rows: indices of the examples to delete, below :func:`example_count`.
    """
    count = example_count(state)
    remaining = [row for row in range(count) if row not in rows]
    if _is_columns(state):
        return {name: _select(column, remaining, count) for name, column in state.items()}
    columns = {name: _select(column, remaining, count) for name, column in state["columns"].items()}
    reduced = {**state, "columns": columns, "seen": len(remaining)}
    if "classes" in state:
        new_slots = {old: new for new, old in enumerate(remaining)}
        reduced["classes"] = [_class_entry(entry, new_slots) for entry in state["classes"]]
    if "size" in state:
        reduced["size"] = len(remaining)
    if "scores" in state:
        reduced["scores"] = state["scores"][remaining]
    return reduced


def _select(column: Tensor, remaining: list[int], count: int) -> Tensor:
    """Return the remaining rows, followed by zeros for each slot that was free before."""
    rows = column[torch.tensor(remaining, dtype=torch.int64)]
    free = len(column) - count
    return torch.cat((rows, column.new_zeros((free, *column.shape[1:]))))


def _class_entry(entry: list[Any], new_slots: Mapping[int, int]) -> list[Any]:
    """Return a class's label, its new slots and its count of items offered.

    If an item of the class was deleted, the count is the number of items that remain.
    """
    label, slots, *counts = entry
    remaining = [new_slots[slot] for slot in slots if slot in new_slots]
    if len(remaining) == len(slots) or not counts:
        return [label, remaining, *counts]
    # A ring overwrites the oldest item next: the slots are sorted by the age of their items.
    oldest = counts[0] % len(slots) if len(counts) == 1 else 0
    remaining = [new_slots[slot] for slot in [*slots[oldest:], *slots[:oldest]] if slot in new_slots]
    return [label, remaining, len(remaining), *counts[1:]]
