"""Shuffled minibatches: each row once an epoch, resumable anywhere."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch import Tensor

from rlcl.learners.shuffle import Shuffle


def shuffle(seed: int = 0) -> Shuffle:
    return Shuffle(torch.Generator().manual_seed(seed))


def rows_of(batches: list[Tensor]) -> list[int]:
    return torch.cat(batches).tolist()


def test_each_row_is_drawn_once_an_epoch() -> None:
    batches = list(shuffle().batches(10, 4, False, 6))
    assert [4, 4, 2, 4, 4, 2] == [len(b) for b in batches]
    assert list(range(10)) == sorted(rows_of(batches[:3]))
    assert list(range(10)) == sorted(rows_of(batches[3:]))


def test_each_epoch_has_an_order_of_its_own() -> None:
    batches = list(shuffle().batches(10, 5, False, 4))
    assert rows_of(batches[:2]) != rows_of(batches[2:])


def test_drop_last_leaves_the_smaller_batch_out() -> None:
    batches = list(shuffle().batches(10, 4, True, 4))
    assert [4, 4, 4, 4] == [len(b) for b in batches]
    assert 8 == len(set(rows_of(batches[:2])))


def test_drop_last_keeps_a_smaller_batch_that_is_all_there_is() -> None:
    assert [3, 3] == [len(b) for b in shuffle().batches(3, 8, True, 2)]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("done", range(8))
def test_going_on_from_its_state_equals_not_stopping(done: int, drop_last: bool) -> None:
    expected = rows_of(list(shuffle().batches(10, 4, drop_last, 9)))
    stopped = shuffle()
    first = list(islice(stopped.batches(10, 4, drop_last, 9), done))
    resumed = shuffle(seed=1)
    resumed.load_state_dict(stopped.state_dict())
    assert expected == rows_of([*first, *resumed.batches(10, 4, drop_last, 9 - done)])


def test_after_stop_the_next_source_starts_an_epoch() -> None:
    draws = shuffle()
    list(draws.batches(10, 4, False, 1))
    draws.stop()
    assert list(range(6)) == sorted(rows_of(list(draws.batches(6, 4, False, 2))))
