"""Every memory goes on without the examples that were deleted from its state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rlcl.methods.memories.class_balanced import BalancedMemory, GreedyMemory
from rlcl.methods.memories.deletion import example_count, is_memory_state, without_rows
from rlcl.methods.memories.gss import GssMemory
from rlcl.methods.memories.herding import HerdingMemory
from rlcl.methods.memories.memory import Memory, WholeMemory
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.methods.memories.ring import RingMemory


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


MEMORIES: dict[str, Callable[[], Memory]] = {
    "reservoir": lambda: ReservoirMemory(10, rng()),
    "reservoir with room": lambda: ReservoirMemory(40, rng()),
    "whole": lambda: WholeMemory(None, rng()),
    "balanced": lambda: BalancedMemory(10, rng()),
    "balanced by class": lambda: BalancedMemory(None, rng(), per_class=4),
    "ring": lambda: RingMemory(None, rng(), per_class=4),
    "greedy": lambda: GreedyMemory(10, rng()),
    "herding": lambda: HerdingMemory(10, rng(), features=lambda batch: batch.inputs),
    "gss": lambda: GssMemory(
        10, rng(), compared=3, gradients=lambda batch: torch.cat((batch.inputs, -batch.inputs + 9), 1)
    ),
}


def offer(memory: Memory, first: int, count: int = 20) -> None:
    """Items whose input is their number, of three classes in turn."""
    numbers = torch.arange(first, first + count)
    memory.insert(inputs=numbers[:, None].float(), targets=numbers % 3)


def numbers(memory: Memory) -> list[int]:
    return memory.contents()["inputs"].flatten().int().tolist()


@pytest.mark.parametrize("name", MEMORIES)
def test_rows_are_gone_and_the_memory_goes_on(name: str) -> None:
    memory = MEMORIES[name]()
    offer(memory, 1)
    state, before = memory.state_dict(), numbers(memory)
    assert is_memory_state(state)
    assert len(before) == example_count(state)
    other = MEMORIES[name]()
    other.load_state_dict(without_rows(state, {0, 2, len(before) - 1}))
    kept = [number for row, number in enumerate(before) if row not in (0, 2, len(before) - 1)]
    assert kept == numbers(other)
    for start in range(100, 200, 20):
        offer(other, start)
    found = numbers(other)
    assert len(found) == len(set(found))
    assert len(found) >= len(before)
    targets = other.contents()["targets"].tolist()
    assert [number % 3 for number in found] == targets
    assert not {before[0], before[2], before[-1]} & set(found)
    if "classes" in other.state_dict():
        for label, slots, *_ in other.state_dict()["classes"]:
            assert {label} == {targets[slot] for slot in slots}


@pytest.mark.parametrize("name", MEMORIES)
def test_all_rows_can_go(name: str) -> None:
    memory = MEMORIES[name]()
    offer(memory, 1)
    other = MEMORIES[name]()
    other.load_state_dict(without_rows(memory.state_dict(), set(range(len(memory)))))
    assert 0 == len(other)
    offer(other, 50)
    assert 0 < len(other)


def test_a_ring_goes_on_overwriting_the_oldest() -> None:
    memory = RingMemory(None, rng(), per_class=3)
    memory.insert(inputs=torch.arange(1.0, 5.0)[:, None], targets=torch.zeros(4, dtype=torch.int64))
    assert [4, 2, 3] == numbers(memory)  # 4 has taken the place of 1
    other = RingMemory(None, rng(), per_class=3)
    other.load_state_dict(without_rows(memory.state_dict(), {1}))
    other.insert(inputs=torch.tensor([[5.0], [6.0]]), targets=torch.zeros(2, dtype=torch.int64))
    assert {4, 5, 6} == set(numbers(other))


def test_columns_alone_are_a_memory_too() -> None:
    state = {"inputs": torch.arange(3.0)[:, None], "targets": torch.arange(3)}
    assert is_memory_state(state)
    assert [0, 2] == without_rows(state, {1})["targets"].tolist()
