"""Memories by class: balanced samples and rings."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from rlcl.methods.memories.class_balanced import BalancedMemory
from rlcl.methods.memories.ring import RingMemory


def balanced(capacity: int | None = None, per_class: int | None = None, seed: int = 0) -> BalancedMemory:
    return BalancedMemory(capacity, np.random.default_rng(seed), per_class=per_class)


def offer(memory: Any, labels: list[int], start: int = 0, size: int = 3) -> None:
    for i in range(0, len(labels), size):
        targets = torch.tensor(labels[i : i + size])
        memory.insert(x=torch.arange(start + i, start + i + len(targets)), targets=targets)


def kept(memory: Any) -> dict[int, list[int]]:
    """Items by class, in the order of slots."""
    columns = memory.at(np.arange(len(memory)))
    found: dict[int, list[int]] = {}
    for x, label in zip(columns["x"].tolist(), columns["targets"].tolist(), strict=True):
        found.setdefault(label, []).append(x)
    return found


def counts(memory: Any) -> dict[int, int]:
    return {label: len(items) for label, items in kept(memory).items()}


def test_it_keeps_everything_until_it_is_full() -> None:
    memory = balanced(6)
    offer(memory, [0, 0, 0, 0, 1])
    assert {0: [0, 1, 2, 3], 1: [4]} == kept(memory)


def test_a_new_class_takes_slots_of_the_largest_until_they_are_equal() -> None:
    memory = balanced(6)
    offer(memory, [0] * 10)
    assert {0: 6} == counts(memory)
    offer(memory, [1, 1], start=10)
    assert {0: 4, 1: 2} == counts(memory)
    offer(memory, [1] * 20, start=12)
    assert {0: 3, 1: 3} == counts(memory)
    offer(memory, [2] * 20, start=32)
    assert {0: 2, 1: 2, 2: 2} == counts(memory)
    assert (6, 52) == (len(memory), memory.seen)


def test_a_rare_class_stays_whole() -> None:
    memory = balanced(10)
    offer(memory, ([0] * 30 + [1]) * 3)
    assert {0: 7, 1: 3} == counts(memory)
    assert [30, 61, 92] == sorted(kept(memory)[1])


@pytest.mark.parametrize(("capacity", "per_class"), [(10, None), (None, 5)])
@pytest.mark.parametrize("size", [1, 7])
def test_each_item_of_a_class_is_kept_with_equal_probability(
    capacity: int | None, per_class: int | None, size: int
) -> None:
    repeats, items = 400, 20  # of each of two classes, in turn: 5 slots each, probability 1/4
    found: Counter[int] = Counter()
    for seed in range(repeats):
        memory = balanced(capacity, per_class, seed)
        offer(memory, [0, 1] * items, size=size)
        found.update(x for own in kept(memory).values() for x in own)
    expected = repeats * 5 / items
    deviation = (repeats * 0.25 * 0.75) ** 0.5
    assert max(abs(found[i] - expected) for i in range(2 * items)) < 4 * deviation


def test_by_class_it_grows_with_the_classes_seen() -> None:
    memory = balanced(per_class=3)
    offer(memory, [0, 0])
    assert ({0: 2}, 3) == (counts(memory), len(memory.state_dict()["columns"]["x"]))
    offer(memory, [1] * 9 + [0] * 9, start=2)
    assert ({0: 3, 1: 3}, 6) == (counts(memory), len(memory.state_dict()["columns"]["x"]))


def test_a_ring_keeps_the_latest_of_each_class() -> None:
    memory = RingMemory(None, np.random.default_rng(0), per_class=2)
    offer(memory, [0, 0, 0, 1, 0])
    assert {0: {2, 4}, 1: {3}} == {label: set(items) for label, items in kept(memory).items()}
    offer(memory, [1, 1, 1, 1], start=5, size=4)  # more than its slots in one call
    assert {0: {2, 4}, 1: {7, 8}} == {label: set(items) for label, items in kept(memory).items()}
    assert 4 == len(memory) == len(set(memory.sample(9)["x"].tolist()))


@pytest.mark.parametrize(
    "make",
    [
        lambda s: balanced(7, seed=s),
        lambda s: balanced(per_class=3, seed=s),
        lambda s: RingMemory(None, np.random.default_rng(s), per_class=3),
    ],
)
def test_going_on_from_its_state_equals_not_stopping(make: Any) -> None:
    labels = np.random.default_rng(3).integers(0, 4, 60).tolist()
    through, stopped, resumed = make(0), make(0), make(9)
    offer(through, labels[:25])
    offer(stopped, labels[:25])
    resumed.load_state_dict(stopped.state_dict())
    for memory in (through, resumed):
        offer(memory, labels[25:], start=25)
    assert kept(through) == kept(resumed)
    assert torch.equal(through.sample(4)["x"], resumed.sample(4)["x"])
