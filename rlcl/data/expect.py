"""What a data set is expected to be, said in the config and checked when it is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.overlap import copies
from rlcl.errors import DataError, Problem, did_you_mean

if TYPE_CHECKING:
    from rlcl.data.sources import Data

__all__ = ["ColumnExpectation", "Expectation", "check_expected"]

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
ROWS_AT_ONCE = 4096  # that are compared, so that those on disk are never all in memory
SHOWN = 3  # classes or categories that one message names


def _bounds(low_high: Any) -> None:
    if low_high is not None and low_high[0] > low_high[1]:
        raise Problem(f"expected [least, greatest], got {list(low_high)}", "range")


@frozen(kw_only=True)
class ColumnExpectation:
    """What is expected of one column of a table.

    Args:
        range: its least and its greatest number.
        missing: share of its values that may be missing, in [0, 1].
        categories: the only texts allowed.
    """

    range: tuple[float, float] | None = option(None)
    missing: float | None = option(None, ge=0, le=1)
    categories: tuple[str, ...] | None = option(None)

    def __attrs_post_init__(self) -> None:
        _bounds(self.range)


@frozen(kw_only=True)
class Expectation:
    """What is expected of a data set; what is not said is not checked.

    Args:
        shape: of one input.
        dtype: of the inputs, as rlcl holds them.
        range: the least and the greatest number of all inputs.
        classes: how many there are, or all their names; each must have a training row.
        missing: share of a column's values that may be missing, in [0, 1].
        overlap: share of the test rows that may be copies of training rows, in [0, 1].
        columns: of a table, by name.
    """

    shape: tuple[int, ...] | None = option(None, ge=1)
    dtype: str | None = option(None, choices=(*DTYPES, None))
    range: tuple[float, float] | None = option(None)
    classes: int | tuple[str, ...] | None = option(None, ge=2)
    missing: float | None = option(None, ge=0, le=1)
    overlap: float | None = option(None, ge=0, le=1)
    columns: Mapping[str, ColumnExpectation] = option(factory=dict)

    def __attrs_post_init__(self) -> None:
        _bounds(self.range)


def check_expected(data: Data, expected: Expectation) -> None:
    """Compares a data set with what is expected of it.

    Raises:
        DataError: everything that is not as expected, a line each with the setting, the row and the column.
    """
    faults = [*_forms(data, expected), *_columns_known(data, expected)]
    if not faults:
        faults = [*_values(data, expected), *_unknown(data, expected), *_overlap(data, expected)]
    if faults:
        raise DataError("\n".join(f"data {data.name!r}: expect.{fault}" for fault in faults))


def _forms(data: Data, expected: Expectation) -> Iterator[str]:
    if expected.shape is not None and expected.shape != data.observation_shape:
        yield f"shape: expected {list(expected.shape)}, got {list(data.observation_shape)}"
    dtype = str(data.train_inputs.dtype).removeprefix("torch.")
    if expected.dtype is not None and expected.dtype != dtype:
        yield f"dtype: expected {expected.dtype}, got {dtype}"
    if expected.classes is not None:
        yield from _classes(data, expected.classes)


def _classes(data: Data, expected: int | tuple[str, ...]) -> Iterator[str]:
    if isinstance(expected, int):
        if expected != data.classes:
            yield f"classes: expected {expected}, got {data.classes}"
    else:
        strange = [name for name in data.names if name not in expected]
        absent = [name for name in expected if name not in data.names]
        if strange:
            yield f"classes: {_some(strange)} not expected; allowed: {', '.join(expected)}"
        if absent:
            yield f"classes: no row of {_some(absent)}"
    if data.train_labels is not None and data.classes:
        counts = data.train_labels.bincount(minlength=data.classes)
        empty = [data.names[c] for c in (counts == 0).nonzero().flatten().tolist()]
        if empty:
            yield f"classes: no training row of {_some(empty)}"


def _columns_known(data: Data, expected: Expectation) -> Iterator[str]:
    known = {column.name: column for column in data.columns}
    for name, each in expected.columns.items():
        if not known:
            yield f"columns.{name}: the data are no table with named columns; use range and missing"
        elif name not in known:
            yield f"columns.{name}: no such column{did_you_mean(name, known)}"
        elif each.categories is not None and not known[name].categorical:
            yield f"columns.{name}.categories: the column holds numbers; use range, or name it under categorical"
        elif each.range is not None and known[name].categorical:
            yield f"columns.{name}.range: the column holds texts; use categories"
        elif each.categories is not None and (strange := set(known[name].categories) - set(each.categories)):
            allowed = ", ".join(each.categories)
            yield f"columns.{name}.categories: {_some(sorted(strange))} not expected; allowed: {allowed}"


def _unknown(data: Data, expected: Expectation) -> Iterator[str]:
    """Texts of test rows; of each column the first is told, and not a thousand like it."""
    told = set()
    for found in data.unknown:
        each = expected.columns.get(found.column)
        if each is None or each.categories is None or found.column in told or found.text in each.categories:
            continue
        told.add(found.column)
        setting, allowed = f"columns.{found.column}.categories", ", ".join(each.categories)
        where = f"{found.place}: test set, row {found.row}, column {found.column}"
        yield f"{setting}: {where}: expected one of {allowed}, got {found.text!r}"


@frozen
class _Bounds:
    """What one feature may hold.

    Args:
        setting: that says so.
        low, high: of its numbers; NaN compares with neither.
    """

    setting: str
    low: float
    high: float


def _values(data: Data, expected: Expectation) -> Iterator[str]:
    for split, inputs in (("train", data.train_inputs), ("test", data.test_inputs)):
        bounds = list(_bounded(data, expected))
        missing = torch.zeros(data.observation_shape, dtype=torch.int64).flatten()
        first_missing = torch.full_like(missing, -1)
        for rows in torch.split(torch.arange(len(inputs)), ROWS_AT_ONCE):
            x = inputs.index_select(0, rows).flatten(1)
            for place, bound in list(bounds):
                if (fault := _outside(data, split, x, int(rows[0]), place, bound)) is not None:
                    bounds.remove((place, bound))  # the first is told, and not a thousand like it
                    yield fault
            if x.is_floating_point():
                absent = x.isnan()
                fresh = absent.any(0) & (first_missing < 0)
                first_missing[fresh] = int(rows[0]) + absent.to(torch.int8).argmax(0)[fresh]
                missing += absent.sum(0)
        yield from _missing(data, expected, split, missing / len(inputs), first_missing)


def _bounded(data: Data, expected: Expectation) -> Iterator[tuple[int | None, _Bounds]]:
    """Bounds of all features (None) or of one."""
    if expected.range is not None:
        yield None, _Bounds("range", *expected.range)
    for place, column in enumerate(data.columns):
        each = expected.columns.get(column.name)
        if each is not None and each.range is not None:
            yield place, _Bounds(f"columns.{column.name}.range", *each.range)


def _outside(data: Data, split: str, x: Tensor, start: int, place: int | None, bound: _Bounds) -> str | None:
    part = x if place is None else x[:, place : place + 1]
    outside = (part < bound.low) | (part > bound.high)
    if place is None and any(column.categorical for column in data.columns):
        outside[:, [i for i, column in enumerate(data.columns) if column.categorical]] = False
    if not bool(outside.any()):
        return None
    row, feature = outside.nonzero()[0].tolist()
    where = data.place(split, start + row, feature if place is None else place)
    value = part[row, feature].item()
    return f"{bound.setting}: {where}: expected a number in [{bound.low:g}, {bound.high:g}], got {value:g}"


def _missing(data: Data, expected: Expectation, split: str, shares: Tensor, first: Tensor) -> Iterator[str]:
    for feature in first.ge(0).nonzero().flatten().tolist():
        name = data.columns[feature].name if data.columns else ""
        own = expected.columns[name].missing if name in expected.columns else None
        allowed, setting = (expected.missing, "missing") if own is None else (own, f"columns.{name}.missing")
        if allowed is not None and shares[feature] > allowed:
            where = data.place(split, int(first[feature]), feature)
            share = f"{shares[feature]:.2%} of its values are missing, at most {allowed:.2%} may be"
            yield f"{setting}: {where}, is missing; {share}"


def _overlap(data: Data, expected: Expectation) -> Iterator[str]:
    if expected.overlap is None:
        return
    if not isinstance(data.train_inputs, Tensor) or not isinstance(data.test_inputs, Tensor):
        yield "overlap: the inputs stay on disk and are not compared; set storage: memory, or leave overlap out"
        return
    pairs = copies(data.train_inputs, data.test_inputs)
    if len(pairs) > expected.overlap * len(data.test_inputs):
        test, train = pairs[0].tolist()
        yield (
            f"overlap: {len(pairs)} of {len(data.test_inputs)} test rows are copies of training rows, at most "
            f"{expected.overlap:.2%}; the first is {data.place('test', test)}, a copy of {data.place('train', train)}"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
