"""The inputs of a bundle: names, shapes, dtypes, and the bounds that serving holds them to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rlcl.data.sources import pieces
from rlcl.deploy.signature import DTYPES, Field
from rlcl.errors import UnsupportedError
from rlcl.types import ArraySource, Column, Reading, Stream

__all__ = ["array_field", "incomplete", "narrowed", "space_fields"]

Array = np.ndarray[Any, Any]
LARGEST = float(np.finfo(np.float32).max)


def array_field(
    sources: Iterable[ArraySource],
    ranges: Iterable[tuple[Sequence[float], Sequence[float]]] = (),
    missing: bool = False,
    columns: tuple[Column, ...] = (),
    reading: Reading | None = None,
) -> Field:
    """The one input of what learned from arrays.

    Whole numbers are held to the range of their dtype. Others may lie outside of all that was trained on by its
    whole width on either side: a sensor's outlier passes, a wrong unit does not. What is missing has no part in it.
    Of a table this holds column by column.

    Args:
        sources: the training data of all experiences; of a table what is held out, too.
        ranges: smallest and greatest values of what was trained on beside them, and is not there any more; one of
            all, or one a column.
        missing: whether values may be missing, see :func:`incomplete`.
        columns: of a table.
        reading: how its file was read.
    """
    axis, size = (0, (len(columns),)) if columns else (None, ())
    low, high, shape, dtype = np.full(size, np.inf), np.full(size, -np.inf), (), np.dtype(np.float32)
    for least, most in ranges:
        low, high = np.minimum(low, least if columns else min(least)), np.maximum(high, most if columns else max(most))
    for source in sources:
        for x, _ in pieces(source):
            array = x.numpy()
            shape, dtype = array.shape[1:], array.dtype
            if dtype.kind == "f" and array.size:
                low = np.minimum(low, np.fmin.reduce(array, axis, initial=np.inf))
                high = np.maximum(high, np.fmax.reduce(array, axis, initial=-np.inf))
    name = narrowed(dtype)
    bounds = _range(np.dtype(name)) if dtype.kind != "f" else _widened(low, high, columns)
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


def _widened(low: Any, high: Any, columns: Sequence[Column]) -> tuple[Any, Any]:
    """Bounds of fractions around what was there: of all, where that is anything, or of each column."""
    if not columns:
        low, high = float(low), float(high)
        return (None, None) if low > high else (2 * low - high, 2 * high - low)
    with np.errstate(invalid="ignore"):
        # A column that is the same everywhere says nothing of how far it may move.
        width = np.where(high > low, high - low, np.maximum(np.abs(high), 1))
        known = low <= high
        least, most = np.where(known, low - width, -LARGEST), np.where(known, high + width, LARGEST)
    for place, column in enumerate(columns):
        if column.categorical:
            least[place], most[place] = 0, len(column.categories) - 1
    return np.clip(least, -LARGEST, LARGEST), np.clip(most, -LARGEST, LARGEST)


def incomplete(stream: Stream) -> bool:
    """Whether values are missing in what a stream trains or evaluates on, so that they may be missing later on."""
    every = [source for e in (*stream, *stream.evaluated) for _, source in e.splits]
    sources = [source for source in every if source.kind == "arrays"]
    return stream.spec.missing and any(bool(x.isnan().any()) for source in sources for x, _ in pieces(source))


def narrowed(dtype: np.dtype[Any]) -> str:
    """The dtype of a field for arrays of a dtype: float32 for all fractions.

    Raises:
        UnsupportedError: none fits.
    """
    if dtype.kind == "f":
        return "float32"
    if dtype.name not in DTYPES:
        raise UnsupportedError(f"inputs of {dtype} cannot be exported; expected fractions or {', '.join(DTYPES)}")
    return dtype.name


def _range(dtype: np.dtype[Any]) -> tuple[float, float] | tuple[None, None]:
    if dtype.kind == "b":
        return None, None
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)


def space_fields(space: gym.Space[Any]) -> tuple[Field, ...]:
    """The inputs of a policy: one named ``input``, or one a key of a Dict.

    Raises:
        UnsupportedError: a space that is neither an array nor a Dict of arrays.
    """
    if isinstance(space, gym.spaces.Dict):
        return tuple(_field(key, part) for key, part in space.items())
    return (_field("input", space),)


def _field(name: str, space: gym.Space[Any]) -> Field:
    if isinstance(space, gym.spaces.Box):
        low, high = _bound(space.low), _bound(space.high)
        return Field(name=name, shape=space.shape, dtype=narrowed(np.dtype(space.dtype)), low=low, high=high)
    if isinstance(space, gym.spaces.Discrete):
        start, n = int(space.start), int(space.n)
        return Field(name=name, shape=(), dtype="int64", low=float(start), high=float(start + n - 1))
    if isinstance(space, gym.spaces.MultiDiscrete):
        high = (space.start + space.nvec - 1).astype(np.float64)
        return Field(name=name, shape=space.shape, dtype="int64", low=space.start.astype(np.float64), high=high)
    if isinstance(space, gym.spaces.MultiBinary):
        return Field(name=name, shape=space.shape, dtype="int8", low=0.0, high=1.0)
    raise UnsupportedError(f"observations {name} of {space} cannot be exported; expected arrays, or a Dict of arrays")


def _bound(bound: Array) -> float | Array | None:
    """One number for all, an array, or None where it is infinite everywhere."""
    if np.isinf(bound).all():
        return None
    # JSON has no infinity; no finite float32 lies beyond the largest one.
    values = np.clip(bound.astype(np.float64), -LARGEST, LARGEST)
    return float(values.flat[0]) if (values == values.flat[0]).all() else values
