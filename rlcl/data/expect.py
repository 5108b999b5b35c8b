"""Expectations of a data set, which the config sets and which are checked when the data are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.overlap import find_copies
from rlcl.errors import DataError, Problem, did_you_mean

if TYPE_CHECKING:
    from rlcl.data.sources import Data

__all__ = ["ColumnExpectation", "Expectation", "check_expected"]

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
ROWS_AT_ONCE = 4096  # rows compared at a time, so that inputs on disk are never all in memory
SHOWN = 3  # maximum number of classes or categories in a message


def _check_range(low_high: Any) -> None:
    if low_high is not None and low_high[0] > low_high[1]:
        raise Problem(f"expected [minimum, maximum], got {list(low_high)}", "range")


@frozen(kw_only=True)
class ColumnExpectation:
    """Expectations of one column of a table.

    Args:
        range: minimum and maximum of its numbers.
        missing: maximum share of missing values, in [0, 1].
        categories: allowed texts.
    """

    range: tuple[float, float] | None = option(None)
    missing: float | None = option(None, ge=0, le=1)
    categories: tuple[str, ...] | None = option(None)

    def __attrs_post_init__(self) -> None:
        _check_range(self.range)


@frozen(kw_only=True)
class Expectation:
    """Expectations of a data set. Settings that are not set are not checked.

    Args:
        shape: shape of one input.
        dtype: data type of the inputs in rlcl.
        range: minimum and maximum of all inputs.
        classes: number of classes, or all their names; each class must have a training row.
        missing: maximum share of missing values in a column, in [0, 1].
        overlap: maximum share of test rows that are copies of training rows, in [0, 1].
        columns: expectations of the columns of a table, by name.
    """

    shape: tuple[int, ...] | None = option(None, ge=1)
    dtype: str | None = option(None, choices=(*DTYPES, None))
    range: tuple[float, float] | None = option(None)
    classes: int | tuple[str, ...] | None = option(None, ge=2)
    missing: float | None = option(None, ge=0, le=1)
    overlap: float | None = option(None, ge=0, le=1)
    columns: Mapping[str, ColumnExpectation] = option(factory=dict)

    def __attrs_post_init__(self) -> None:
        _check_range(self.range)


def check_expected(data: Data, expected: Expectation) -> None:
    """Check a data set against its expectations.

    Raises:
        DataError: some expectations are not met; one line each, with the setting, the row and the column.
    """
    faults = [*_form_faults(data, expected), *_column_faults(data, expected)]
    if not faults:
        faults = [*_value_faults(data, expected), *_category_faults(data, expected), *_overlap_faults(data, expected)]
    if faults:
        raise DataError("\n".join(f"data {data.name!r}: expect.{fault}" for fault in faults))


def _form_faults(data: Data, expected: Expectation) -> Iterator[str]:
    if expected.shape is not None and expected.shape != data.observation_shape:
        yield f"shape: expected {list(expected.shape)}, got {list(data.observation_shape)}"
    dtype = str(data.train_inputs.dtype).removeprefix("torch.")
    if expected.dtype is not None and expected.dtype != dtype:
        yield f"dtype: expected {expected.dtype}, got {dtype}"
    if expected.classes is not None:
        yield from _class_faults(data, expected.classes)


def _class_faults(data: Data, expected: int | tuple[str, ...]) -> Iterator[str]:
    if isinstance(expected, int):
        if expected != data.classes:
            yield f"classes: expected {expected}, got {data.classes}"
    else:
        unexpected = [name for name in data.names if name not in expected]
        absent = [name for name in expected if name not in data.names]
        if unexpected:
            yield f"classes: {_enumerated(unexpected)} not expected; allowed: {', '.join(expected)}"
        if absent:
            yield f"classes: no row of {_enumerated(absent)}"
    if data.train_labels is not None and data.classes:
        counts = data.train_labels.bincount(minlength=data.classes)
        empty = [data.names[c] for c in (counts == 0).nonzero().flatten().tolist()]
        if empty:
            yield f"classes: no training row of {_enumerated(empty)}"


def _column_faults(data: Data, expected: Expectation) -> Iterator[str]:
    known = {column.name: column for column in data.columns}
    for name, column in expected.columns.items():
        if not known:
            yield f"columns.{name}: the data are no table with named columns; use range and missing"
        elif name not in known:
            yield f"columns.{name}: no such column{did_you_mean(name, known)}"
        elif column.categories is not None and not known[name].categorical:
            yield f"columns.{name}.categories: the column holds numbers; use range, or name it under categorical"
        elif column.range is not None and known[name].categorical:
            yield f"columns.{name}.range: the column holds texts; use categories"
        elif column.categories is not None and (unexpected := set(known[name].categories) - set(column.categories)):
            allowed = ", ".join(column.categories)
            yield f"columns.{name}.categories: {_enumerated(sorted(unexpected))} not expected; allowed: {allowed}"


def _category_faults(data: Data, expected: Expectation) -> Iterator[str]:
    """Yield a fault for the first unexpected text of test rows in each column."""
    reported = set()
    for unknown in data.unknown:
        column = expected.columns.get(unknown.column)
        if (
            column is None
            or column.categories is None
            or unknown.column in reported
            or unknown.text in column.categories
        ):
            continue
        reported.add(unknown.column)
        setting, allowed = f"columns.{unknown.column}.categories", ", ".join(column.categories)
        where = f"{unknown.location}: test set, row {unknown.row}, column {unknown.column}"
        yield f"{setting}: {where}: expected one of {allowed}, got {unknown.text!r}"


@frozen
class _Bounds:
    """Allowed range of a feature.

    Args:
        setting: setting that defines the range, for messages.
        low, high: minimum and maximum; NaN is within any range.
    """

    setting: str
    low: float
    high: float


def _value_faults(data: Data, expected: Expectation) -> Iterator[str]:
    for split, inputs in (("train", data.train_inputs), ("test", data.test_inputs)):
        bounds = list(_feature_bounds(data, expected))
        missing = torch.zeros(data.observation_shape, dtype=torch.int64).flatten()
        first_missing = torch.full_like(missing, -1)
        for rows in torch.split(torch.arange(len(inputs)), ROWS_AT_ONCE):
            x = inputs.index_select(0, rows).flatten(1)
            for index, bound in list(bounds):
                if (fault := _range_fault(data, split, x, int(rows[0]), index, bound)) is not None:
                    bounds.remove((index, bound))  # only the first fault of each feature is reported
                    yield fault
            if x.is_floating_point():
                absent = x.isnan()
                newly_missing = absent.any(0) & (first_missing < 0)
                first_missing[newly_missing] = int(rows[0]) + absent.to(torch.int8).argmax(0)[newly_missing]
                missing += absent.sum(0)
        yield from _missing_faults(data, expected, split, missing / len(inputs), first_missing)


def _feature_bounds(data: Data, expected: Expectation) -> Iterator[tuple[int | None, _Bounds]]:
    """Yield the index of a feature, or None for all features, and its bounds."""
    if expected.range is not None:
        yield None, _Bounds("range", *expected.range)
    for index, column in enumerate(data.columns):
        expectation = expected.columns.get(column.name)
        if expectation is not None and expectation.range is not None:
            yield index, _Bounds(f"columns.{column.name}.range", *expectation.range)


def _range_fault(data: Data, split: str, x: Tensor, start: int, index: int | None, bound: _Bounds) -> str | None:
    features = x if index is None else x[:, index : index + 1]
    outside = (features < bound.low) | (features > bound.high)
    if index is None and any(column.categorical for column in data.columns):
        outside[:, [i for i, column in enumerate(data.columns) if column.categorical]] = False
    if not bool(outside.any()):
        return None
    row, feature = outside.nonzero()[0].tolist()
    where = data.location(split, start + row, feature if index is None else index)
    value = features[row, feature].item()
    return f"{bound.setting}: {where}: expected a number in [{bound.low:g}, {bound.high:g}], got {value:g}"


def _missing_faults(data: Data, expected: Expectation, split: str, shares: Tensor, first: Tensor) -> Iterator[str]:
    for feature in first.ge(0).nonzero().flatten().tolist():
        name = data.columns[feature].name if data.columns else ""
        own = expected.columns[name].missing if name in expected.columns else None
        allowed, setting = (expected.missing, "missing") if own is None else (own, f"columns.{name}.missing")
        if allowed is not None and shares[feature] > allowed:
            where = data.location(split, int(first[feature]), feature)
            share = f"{shares[feature]:.2%} of its values are missing, expected at most {allowed:.2%}"
            yield f"{setting}: {where}, is missing; {share}"


def _overlap_faults(data: Data, expected: Expectation) -> Iterator[str]:
    if expected.overlap is None:
        return
    if not isinstance(data.train_inputs, Tensor) or not isinstance(data.test_inputs, Tensor):
        yield "overlap: inputs on disk are not compared; set storage: memory, or remove overlap"
        return
    pairs = find_copies(data.train_inputs, data.test_inputs)
    if len(pairs) > expected.overlap * len(data.test_inputs):
        test, train = pairs[0].tolist()
        yield (
            f"overlap: {len(pairs)} of {len(data.test_inputs)} test rows are copies of training rows, expected at most "
            f"{expected.overlap:.2%}; the first is {data.location('test', test)}, a copy of "
            f"{data.location('train', train)}"
        )


def _enumerated(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
