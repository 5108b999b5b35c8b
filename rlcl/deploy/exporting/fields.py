"""Input fields of a bundle: names, shapes, dtypes, and the bounds that serving enforces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rlcl.data.sources import read_chunks
from rlcl.deploy.signature import DTYPES, Field
from rlcl.errors import UnsupportedError
from rlcl.types import ArraySource, Stream, TableColumn, TableFormat

__all__ = ["array_field", "field_dtype", "has_missing_values", "space_fields"]

Array = np.ndarray[Any, Any]
LARGEST = float(np.finfo(np.float32).max)


def array_field(
    sources: Iterable[ArraySource],
    ranges: Iterable[tuple[Sequence[float], Sequence[float]]] = (),
    missing: bool = False,
    columns: tuple[TableColumn, ...] = (),
    reading: TableFormat | None = None,
) -> Field:
    """Return the input field of a model that was trained on arrays.

    Integers are bounded by the range of their dtype. Floats may exceed the range of the training data by the width of
    this range on either side: an outlier of a sensor is accepted, a value in a wrong unit is rejected. Missing values
    are ignored. The bounds of a table are per column.

    Args:
        sources: training data of all experiences; for a table also the held-out data.
        ranges: minima and maxima of further training data that are not stored any more; one value for all, or one per
            column.
        missing: whether values may be missing, see :func:`has_missing_values`.
        columns: columns of a table; empty otherwise.
        reading: format of the table's file.
    """
    axis, size = (0, (len(columns),)) if columns else (None, ())
    low, high, shape, dtype = np.full(size, np.inf), np.full(size, -np.inf), (), np.dtype(np.float32)
    for lows, highs in ranges:
        low = np.minimum(low, lows if columns else min(lows))
        high = np.maximum(high, highs if columns else max(highs))
    for source in sources:
        for x, _ in read_chunks(source):
            array = x.numpy()
            shape, dtype = array.shape[1:], array.dtype
            if dtype.kind == "f" and array.size:
                low = np.minimum(low, np.fmin.reduce(array, axis, initial=np.inf))
                high = np.maximum(high, np.fmax.reduce(array, axis, initial=-np.inf))
    name = field_dtype(dtype)
    bounds = _dtype_range(np.dtype(name)) if dtype.kind != "f" else _widen(low, high, columns)
    return Field(
        name="input",
        shape=shape,
        dtype=name,
        low=bounds[0],
        high=bounds[1],
        missing=missing,
        columns=columns,
        reading=reading,
    )


def _widen(low: Any, high: Any, columns: Sequence[TableColumn]) -> tuple[Any, Any]:
    """Widen the range of floats by its width on either side: one range for all, or one per column of a table."""
    if not columns:
        low, high = float(low), float(high)
        return (None, None) if low > high else (2 * low - high, 2 * high - low)
    with np.errstate(invalid="ignore"):
        # The range of a constant column has no width; its magnitude is used instead.
        width = np.where(high > low, high - low, np.maximum(np.abs(high), 1))
        known = low <= high
        lows, highs = np.where(known, low - width, -LARGEST), np.where(known, high + width, LARGEST)
    for i, column in enumerate(columns):
        if column.categorical:
            lows[i], highs[i] = 0, len(column.categories) - 1
    return np.clip(lows, -LARGEST, LARGEST), np.clip(highs, -LARGEST, LARGEST)


def has_missing_values(stream: Stream) -> bool:
    """Return True if values are missing in the training or evaluation data, so that they may be missing in requests."""
    splits = [source for e in (*stream, *stream.evaluated) for _, source in e.splits]
    sources = [source for source in splits if source.kind == "arrays"]
    return stream.spec.missing and any(bool(x.isnan().any()) for source in sources for x, _ in read_chunks(source))


def field_dtype(dtype: np.dtype[Any]) -> str:
    """Return the dtype of a field for arrays of a dtype: float32 for all floats.

    Raises:
        UnsupportedError: no dtype of a field fits.
    """
    if dtype.kind == "f":
        return "float32"
    if dtype.name not in DTYPES:
        raise UnsupportedError(
            f"inputs of the dtype {dtype} cannot be exported; expected floats or {', '.join(DTYPES)}"
        )
    return dtype.name


def _dtype_range(dtype: np.dtype[Any]) -> tuple[float, float] | tuple[None, None]:
    if dtype.kind == "b":
        return None, None
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)


def space_fields(space: gym.Space[Any]) -> tuple[Field, ...]:
    """Return the input fields of a policy: one field ``input``, or one field per key of a Dict space.

    Raises:
        UnsupportedError: the space is neither a space of arrays nor a Dict of them.
    """
    if isinstance(space, gym.spaces.Dict):
        return tuple(_field(key, part) for key, part in space.items())
    return (_field("input", space),)


def _field(name: str, space: gym.Space[Any]) -> Field:
    if isinstance(space, gym.spaces.Box):
        low, high = _bound(space.low), _bound(space.high)
        return Field(name=name, shape=space.shape, dtype=field_dtype(np.dtype(space.dtype)), low=low, high=high)
    if isinstance(space, gym.spaces.Discrete):
        start, n = int(space.start), int(space.n)
        return Field(name=name, shape=(), dtype="int64", low=float(start), high=float(start + n - 1))
    if isinstance(space, gym.spaces.MultiDiscrete):
        high = (space.start + space.nvec - 1).astype(np.float64)
        return Field(name=name, shape=space.shape, dtype="int64", low=space.start.astype(np.float64), high=high)
    if isinstance(space, gym.spaces.MultiBinary):
        return Field(name=name, shape=space.shape, dtype="int8", low=0.0, high=1.0)
    raise UnsupportedError(f"observations {name} in {space} cannot be exported; expected arrays, or a Dict of arrays")


def _bound(bound: Array) -> float | Array | None:
    """Return one number if all bounds are equal, None if all are infinite, otherwise an array."""
    if np.isinf(bound).all():
        return None
    # JSON has no infinity; the largest float32 bounds all finite values.
    values = np.clip(bound.astype(np.float64), -LARGEST, LARGEST)
    return float(values.flat[0]) if (values == values.flat[0]).all() else values
