"""The reservoir: a uniform sample of everything that was offered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlcl.errors import UnsupportedError
from rlcl.methods.memories.reservoir import ReservoirMemory, reservoir_slots


def memory(capacity: int, seed: int = 0) -> ReservoirMemory:
    return ReservoirMemory(capacity, np.random.default_rng(seed))


def kept(filled: ReservoirMemory) -> list[int]:
    column = filled.state_dict()["columns"]["x"]
    return sorted(column[: len(filled)].tolist())


@pytest.mark.parametrize("size", [1, 7, 40])
def test_each_item_is_kept_with_equal_probability(size: int) -> None:
    capacity, items, repeats = 10, 40, 800
    counts = np.zeros(items)
    for seed in range(repeats):
        filled = memory(capacity, seed)
        for start in range(0, items, size):
            filled.insert(x=torch.arange(start, min(start + size, items)))
        counts[kept(filled)] += 1
    expected = repeats * capacity / items
    # Binomial counts, seeds fixed: 40 items within 4 standard deviations.
    deviation = (repeats * (capacity / items) * (1 - capacity / items)) ** 0.5
    assert np.abs(counts - expected).max() < 4 * deviation


def test_it_keeps_everything_until_it_is_full() -> None:
    filled = memory(5)
    filled.insert(x=torch.tensor([1, 2]))
    filled.insert(x=torch.tensor([3, 4, 5]))
    assert kept(filled) == [1, 2, 3, 4, 5]


def test_no_item_is_kept_twice() -> None:
    filled = memory(7)
    for start in range(0, 60, 6):
        filled.insert(x=torch.arange(start, start + 6))
    assert len(set(kept(filled))) == 7


def test_its_length_never_passes_its_capacity() -> None:
    filled = memory(4)
    lengths = []
    for _ in range(3):
        filled.insert(x=torch.zeros(3))
        lengths.append(len(filled))
    assert lengths == [3, 4, 4]
    assert filled.seen == 9


def test_columns_stay_together() -> None:
    filled = memory(6)
    for start in range(0, 40, 4):
        x = torch.arange(start, start + 4)
        filled.insert(x=x, y=10 * x, z=None)
    drawn = filled.sample(6)
    assert list(drawn) == ["x", "y"]
    assert torch.equal(10 * drawn["x"], drawn["y"])


def test_draws_are_without_replacement() -> None:
    filled = memory(10)
    filled.insert(x=torch.arange(10))
    assert list(range(10)) == sorted(filled.sample(10)["x"].tolist())
    assert len(set(filled.sample(6)["x"].tolist())) == 6


def test_a_draw_gives_no_more_than_there_is() -> None:
    filled = memory(10)
    filled.insert(x=torch.arange(3))
    assert sorted(filled.sample(8)["x"].tolist()) == [0, 1, 2]


def test_draws_are_uniform() -> None:
    filled = memory(5)
    filled.insert(x=torch.arange(5))
    counts = np.bincount(torch.cat([filled.sample(2)["x"] for _ in range(2000)]).numpy(), minlength=5)
    # Each is drawn with probability 2/5: 800 of 2,000, standard deviation 22.
    assert np.abs(counts - 800).max() < 4 * 22


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32, torch.float64, torch.bool])
def test_dtypes_are_kept(dtype: torch.dtype) -> None:
    filled = memory(3)
    filled.insert(x=torch.ones(2, 4).to(dtype))
    assert dtype == filled.sample(2)["x"].dtype


def test_what_is_kept_is_a_copy_without_graph() -> None:
    source = torch.ones(2, requires_grad=True)
    filled = memory(3)
    filled.insert(x=source * 1)
    with torch.no_grad():
        source.zero_()
    drawn = filled.sample(2)["x"]
    assert not drawn.requires_grad
    assert torch.equal(torch.ones(2), drawn)


def test_bytes_are_those_of_its_full_capacity() -> None:
    filled = memory(10)
    filled.insert(x=torch.zeros(2, 3), y=torch.zeros(2, dtype=torch.int64))
    assert filled.bytes == 10 * (3 * 4 + 8)


def test_a_limit_in_bytes_says_how_many_are_kept() -> None:
    filled = ReservoirMemory(None, np.random.default_rng(0), capacity_bytes=70)
    assert len(filled) == 0
    for _ in range(4):
        filled.insert(x=torch.zeros(2, 3), y=torch.zeros(2, dtype=torch.int64))  # 3 * 4 + 8 = 20 bytes each
    assert (3, 60) == (len(filled), filled.bytes)


def test_a_limit_in_bytes_below_one_item_is_refused() -> None:
    filled = ReservoirMemory(None, np.random.default_rng(0), capacity_bytes=19)
    with pytest.raises(UnsupportedError, match="capacity_bytes: expected at least 20, the size of one example, got 19"):
        filled.insert(x=torch.zeros(2, 3), y=torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(("count", "expected"), [(6, [2, 2, 2]), (7, [3, 2, 3]), (100, [5, 2, 4])])
def test_an_even_draw_takes_as_many_of_each(count: int, expected: list[int]) -> None:
    filled = memory(20)
    ids = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2])  # five, two and four: 7 / 3 rounded up is 3
    filled.insert(x=torch.arange(11), ids=ids)
    drawn = filled.sample_evenly(count, "ids")
    assert expected == torch.bincount(drawn["ids"]).tolist()
    assert len(set(drawn["x"].tolist())) == sum(expected)
    assert torch.equal(ids[drawn["x"]], drawn["ids"])


def test_going_on_from_its_state_equals_not_stopping() -> None:
    through, stopped = memory(5), memory(5)
    for filled in (through, stopped):
        filled.insert(x=torch.arange(9))
    resumed = memory(5, seed=99)
    resumed.load_state_dict(stopped.state_dict())
    for filled in (through, resumed):
        filled.insert(x=torch.arange(9, 30))
    assert kept(through) == kept(resumed)
    assert torch.equal(through.sample(4)["x"], resumed.sample(4)["x"])


def test_slots_are_places_in_order_before_it_is_full() -> None:
    slots, rows = reservoir_slots(0, 3, 5, np.random.default_rng(0))
    assert (slots.tolist(), rows.tolist()) == ([0, 1, 2], [0, 1, 2])


def test_no_items_take_no_slots() -> None:
    slots, rows = reservoir_slots(7, 0, 5, np.random.default_rng(0))
    assert (slots.tolist(), rows.tolist()) == ([], [])


def test_with_one_slot_the_last_item_that_took_it_stays() -> None:
    slots, rows = reservoir_slots(0, 100, 1, np.random.default_rng(0))
    generator = np.random.default_rng(0)
    draws = [0, *(int(u * n) for u, n in zip(generator.random(99), range(2, 101), strict=True))]
    assert ([0], [max(i for i, slot in enumerate(draws) if slot == 0)]) == (slots.tolist(), rows.tolist())


@pytest.mark.parametrize(("seen", "count", "capacity"), [(0, 50, 5), (3, 10, 5), (5, 5, 5), (100, 400, 30)])
def test_no_slot_is_given_twice_and_none_lies_outside(seen: int, count: int, capacity: int) -> None:
    for seed in range(20):
        slots, rows = reservoir_slots(seen, count, capacity, np.random.default_rng(seed))
        assert len(set(slots.tolist())) == len(slots) == len(rows)
        assert all(0 <= slot < capacity for slot in slots)
        assert all(0 <= row < count for row in rows)


def test_at_once_equals_one_by_one_under_the_same_draws() -> None:
    at_once, one_by_one = memory(4), memory(4)
    at_once.insert(x=torch.arange(30))
    for i in range(30):
        one_by_one.insert(x=torch.tensor([i]))
    assert kept(at_once) == kept(one_by_one)
