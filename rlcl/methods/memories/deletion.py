"""Deletes examples from the saved state of a memory, so that it goes on without them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import torch
from torch import Tensor

__all__ = ["is_memory", "remembered", "without_rows"]


def is_memory(state: Any) -> bool:
    """Whether it is the state of a :class:`rlcl.methods.memories.memory.Memory` that holds examples."""
    if not isinstance(state, Mapping):
        return False
    return _bare(state) or ({"seen", "capacity", "columns"} <= state.keys() and bool(state["columns"]))


def _bare(state: Mapping[str, Any]) -> bool:
    """Whether it is columns of examples alone, as ``gem`` keeps those of each experience."""
    return "inputs" in state and all(isinstance(column, Tensor) for column in state.values())


def remembered(state: Mapping[str, Any]) -> int:
    """How many examples a memory's state holds; they lie in its first slots."""
    if _bare(state):
        return len(state["inputs"])
    if "classes" in state:
        return sum(len(slots) for _, slots, *_ in state["classes"])
    if "scores" in state:
        return len(state["scores"])
    return min(int(state["seen"]), len(next(iter(state["columns"].values()))))


def without_rows(state: Mapping[str, Any], rows: Set[int]) -> dict[str, Any]:
    """The state without some of its examples; those behind them move up.

    A memory that was full has room again, which the next examples fill: a reservoir is then no longer a uniform sample
    of all that came, for it counts what it holds as all that it has seen.

    Args:
        state: of any of the memories of this package.
        rows: places of the examples, below :func:`remembered`.
    """
    count = remembered(state)
    kept = [row for row in range(count) if row not in rows]
    if _bare(state):
        return {name: _moved(column, kept, count) for name, column in state.items()}
    columns = {name: _moved(column, kept, count) for name, column in state["columns"].items()}
    made = {**state, "columns": columns, "seen": len(kept)}
    if "classes" in state:
        places = {old: new for new, old in enumerate(kept)}
        made["classes"] = [_class(entry, places) for entry in state["classes"]]
    if "size" in state:
        made["size"] = len(kept)
    if "scores" in state:
        made["scores"] = state["scores"][kept]
    return made


def _moved(column: Tensor, kept: list[int], count: int) -> Tensor:
    """The kept rows, and zeros in slots that were reserved and are free; of a memory without free ones, none."""
    rows = column[torch.tensor(kept, dtype=torch.int64)]
    free = len(column) - count
    return torch.cat((rows, column.new_zeros((free, *column.shape[1:]))))


def _class(entry: list[Any], places: Mapping[int, int]) -> list[Any]:
    """A class's label and slots, and how many were offered to it: all that it still holds, where any was deleted."""
    label, slots, *counted = entry
    left = [places[slot] for slot in slots if slot in places]
    if len(left) == len(slots) or not counted:
        return [label, left, *counted]
    # A ring overwrites the slot after the last one: they are put in the order in which they came.
    turn = counted[0] % len(slots) if len(counted) == 1 else 0
    left = [places[slot] for slot in [*slots[turn:], *slots[:turn]] if slot in places]
    return [label, left, len(left), *counted[1:]]
