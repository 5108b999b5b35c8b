"""What is kept is neither computed again nor ever another row's."""

from __future__ import annotations

import torch
from torch import Tensor

from rlcl.encoders.row_cache import RowCache


class Doubling:
    """Doubles, and counts the rows that it was asked for."""

    def __init__(self) -> None:
        self.rows: list[float] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.rows += x[:, 0].tolist()
        return 2 * x.double()


def column(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1)


def test_a_row_is_computed_once_wherever_it_lies() -> None:
    remembered, double = RowCache(10), Doubling()
    assert [2.0, 4.0, 2.0] == remembered(column(1, 2, 1), double).flatten().tolist()
    assert [6.0, 4.0] == remembered(column(0, 3, 2)[1:], double).flatten().tolist()
    assert [1.0, 2.0, 3.0] == double.rows


def test_the_row_not_asked_for_longest_leaves_first() -> None:
    remembered, double = RowCache(2), Doubling()
    remembered(column(1, 2), double)
    remembered(column(1), double)
    remembered(column(3), double)  # 2 leaves
    remembered(column(1), double)
    assert [1.0, 2.0, 3.0] == double.rows
    remembered(column(2), double)
    assert [1.0, 2.0, 3.0, 2.0] == double.rows
    assert 2 == len(remembered._rows)


def test_more_rows_than_it_keeps_are_right_too() -> None:
    remembered, double = RowCache(2), Doubling()
    for _ in range(2):
        assert [2.0, 4.0, 6.0, 8.0] == remembered(column(1, 2, 3, 4), double).flatten().tolist()
    assert [1.0, 2.0, 3.0, 4.0, 1.0, 2.0] == double.rows  # the last two were kept


def test_equal_bytes_of_another_type_are_another_row() -> None:
    remembered, double = RowCache(10), Doubling()
    remembered(torch.zeros(1, 1), double)
    remembered(torch.zeros(1, 1, dtype=torch.int32), double)
    assert 2 == len(double.rows)


def test_what_is_given_out_may_be_changed() -> None:
    remembered, double = RowCache(10), Doubling()
    remembered(column(1), double).zero_()
    assert [2.0] == remembered(column(1), double).flatten().tolist()


def test_without_capacity_nothing_is_kept() -> None:
    remembered, double = RowCache(0), Doubling()
    for _ in range(2):
        remembered(column(1), double)
    assert [1.0, 1.0] == double.rows
