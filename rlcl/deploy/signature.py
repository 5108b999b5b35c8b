"""Signature of a bundle: its input and output arrays with their names, shapes, dtypes and bounds."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
from attrs import frozen

from rlcl.data.cells import missing_numbers
from rlcl.errors import BundleError, Problem
from rlcl.formats import parse_json
from rlcl.types import TableColumn, TableFormat

__all__ = ["Field", "InvalidInput", "Signature"]

Array = np.ndarray[Any, Any]
DTYPES = ("float32", "uint8", "int8", "int16", "int32", "int64", "bool")


class InvalidInput(Problem):
    """Error for an input that violates a signature.

    Args:
        message: description of the violation.
        name: name of the field.
        index: index of the value in the field, the row first; empty for an error of the whole field.
        value: value at this index.
    """

    def __init__(self, message: str, name: str, index: Sequence[int] = (), value: Any = None) -> None:
        super().__init__(message, name + "".join(f"[{i}]" for i in index))
        self.name = name
        self.index = tuple(index)
        self.value = value


@frozen(kw_only=True, eq=False)
class Field:
    """Input or output array of a bundle.

    Args:
        name: name of the ONNX graph's input or output.
        shape: shape of one row, without the batch dimension.
        dtype: NumPy's name of the dtype.
        low, high: smallest and largest allowed value, one number or an array of ``shape``; None if unbounded.
        missing: whether a value may be missing: NaN in arrays, NaN or None in lists.
        columns: columns of a row if the model was trained on a table, each with its categories, which the integers from
            0 encode; empty otherwise.
        reading: format of the file that the table was read from; None if unknown.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    low: float | Array | None = None
    high: float | Array | None = None
    missing: bool = False
    columns: tuple[TableColumn, ...] = ()
    reading: TableFormat | None = None

    def rows(self, value: Any) -> Array:
        """Convert an array or nested lists to a batch (B, *shape) of the field's dtype, and check every value.

        Args:
            value: array or nested lists of the shape (B, *shape).

        Raises:
            InvalidInput: the shape differs, or a value is not a number, not finite (NaN is allowed if ``missing``), not
                representable in the dtype, or out of bounds. ``where`` names its index, for example ``input[3][17]``.
        """
        array = self._array(value)
        with np.errstate(invalid="ignore", over="ignore"):  # values that do not fit the dtype are rejected below
            cast = array.astype(self.dtype, copy=False)
        if self.columns and cast.dtype.kind == "f":
            cast = self._checked_columns(cast, array)
        if cast.dtype.kind == "f" and self._within_bounds(cast):
            return cast
        if cast.dtype.kind != "f":
            self._reject(cast != array, array, f"expected a value of {self.dtype}")
        else:
            wrong = np.isinf(cast) if self.missing else ~np.isfinite(cast)
            self._reject(wrong, array, "expected a finite number")
        if self.low is not None:
            self._reject(cast < _bound(self.low, cast), array, "expected at least {}", self.low)
        if self.high is not None:
            self._reject(cast > _bound(self.high, cast), array, "expected at most {}", self.high)
        return cast

    def _checked_columns(self, cast: Array, array: Array) -> Array:
        """Check the indices of categories, and replace numbers that stand for a missing value by NaN."""
        categorical = self._category_counts > 0
        outside = (cast < 0) | (cast >= self._category_counts) | (cast != np.round(cast))
        message = "expected an integer from 0 to {}, the index of a category"
        self._reject(categorical & outside & ~np.isnan(cast), array, message, self._category_counts - 1)
        if not self._missing_numbers:
            return cast
        absent = ~categorical & np.isin(cast, np.array(self._missing_numbers, cast.dtype))
        if not self.missing:
            message = "expected a value that is not missing, because the training data have no missing values"
            self._reject(absent, array, message)
        return np.where(absent, np.array(np.nan, cast.dtype), cast)

    @cached_property
    def _category_counts(self) -> Array:
        """(F,) number of categories of each column, 0 for a numeric column."""
        return np.array([len(column.categories) for column in self.columns])

    @cached_property
    def _missing_numbers(self) -> tuple[float, ...]:
        """Numbers that stand for a missing value."""
        return missing_numbers(self.reading)

    def _within_bounds(self, array: Array) -> bool:
        """Return True if all values are surely valid; False calls for the slower checks that find the index.

        A comparison with NaN is False, so NaN is detected as well, unless values may be missing.
        """
        if isinstance(self.low, np.ndarray) or isinstance(self.high, np.ndarray) or not array.size:
            return False
        minimum, maximum = (np.fmin, np.fmax) if self.missing else (np.minimum, np.maximum)
        smallest, largest = float(minimum.reduce(array, None)), float(maximum.reduce(array, None))
        low = -math.inf if self.low is None else float(array.dtype.type(self.low))
        high = math.inf if self.high is None else float(array.dtype.type(self.high))
        return -math.inf < smallest >= low and math.inf > largest <= high

    def _array(self, value: Any) -> Array:
        if isinstance(value, list | tuple):
            return self._from_lists(value)
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise InvalidInput(f"expected numbers, got {array.dtype}", self.name)
        if array.shape[1:] != self.shape or array.ndim != len(self.shape) + 1:
            shape = ", ".join(["B", *map(str, self.shape)])
            raise InvalidInput(f"expected the shape ({shape}), got {array.shape}", self.name)
        return array

    def _from_lists(self, value: Sequence[Any]) -> Array:
        """Convert nested lists with Python's loops, which accept numbers only; NumPy would convert strings as well."""
        flat: Any = value
        try:
            for size in self.shape:
                if any(length != size for length in set(map(len, flat))):
                    raise TypeError
                flat = list(chain.from_iterable(flat))
            if self.dtype != "bool" and bool in set(map(type, flat)):
                raise TypeError
            if self.missing and None in flat:
                flat = [math.nan if item is None else item for item in flat]
            numbers = np.frombuffer(array("d", flat))
        except (TypeError, ValueError, OverflowError):
            raise self._list_error(value) from None
        return numbers.reshape(len(value), *self.shape)

    def _list_error(self, value: Any, index: tuple[int, ...] = ()) -> InvalidInput:
        """Return the error of the first item of nested lists that has another length or is not a number."""
        sizes = self.shape[len(index) :]
        for i, item in enumerate(value):
            here = (*index, i)
            if not sizes:
                if item is None and self.missing:
                    continue
                if not _is_number(item) or (isinstance(item, bool) and self.dtype != "bool"):
                    message = f"{self._column(here)}expected a number, got {_brief_input(item)}"
                    return InvalidInput(message, self.name, here, item)
            elif not isinstance(item, list | tuple | np.ndarray) or len(item) != sizes[0]:
                return InvalidInput(f"expected a list of {sizes[0]}, got {_brief_input(item)}", self.name, here, item)
            elif (error := self._list_error(item, here)).index:
                return error
        return InvalidInput("expected numbers", self.name)

    def _reject(self, wrong: Array, array: Array, message: str, bound: float | Array = 0.0) -> None:
        """Raise an error for the first value where ``wrong`` is True."""
        if wrong.any():
            index = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), array.shape))
            value = array[index].item()
            limit = float(bound[index[1:]]) if isinstance(bound, np.ndarray) else bound
            raise InvalidInput(
                f"{self._column(index)}{message.format(f'{limit:g}')}, got {value}", self.name, index, value
            )

    def _column(self, index: Sequence[int]) -> str:
        """Return the name of the column at an index as the start of a message; empty if columns have no names."""
        return f"column {self.columns[index[1]].name}: " if self.columns and len(index) == 2 else ""

    def to_json(self) -> dict[str, Any]:
        """Return the field as plain data."""
        values = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in attrs.asdict(self).items()}
        columns = [{"name": column.name, "categories": list(column.categories)} for column in self.columns]
        reading = self.reading and {"delimiter": self.reading.delimiter, "missing": list(self.reading.missing)}
        return {**values, "shape": list(self.shape), "columns": columns, "reading": reading}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Field:
        """Create a field from plain data.

        Raises:
            ValueError, TypeError, KeyError: the data are not in the form of :meth:`to_json`.
        """
        if data["dtype"] not in DTYPES:
            raise ValueError(f"dtype {data['dtype']!r}; allowed: {', '.join(DTYPES)}")
        shape = tuple(int(n) for n in data["shape"])
        if any(n < 0 for n in shape):
            raise ValueError(f"shape {list(shape)}; allowed: lengths of at least 0")
        bounds = (None if data[k] is None else np.asarray(data[k], np.float64) for k in ("low", "high"))
        low, high = (float(b) if b is not None and b.ndim == 0 else b for b in bounds)
        name, missing = str(data["name"]), data.get("missing", False)  # fields of older bundles lack this key
        if not isinstance(missing, bool):
            raise ValueError(f"missing {missing!r}; allowed: true, false")
        columns = tuple(TableColumn(str(c["name"]), tuple(map(str, c["categories"]))) for c in data.get("columns", ()))
        if columns and shape != (len(columns),):
            raise ValueError(
                f"{name} has {len(columns)} columns and the shape {shape}; allowed: the shape ({len(columns)},)"
            )
        reading = data.get("reading")
        return cls(
            name=name,
            shape=shape,
            dtype=data["dtype"],
            low=low,
            high=high,
            missing=missing,
            columns=columns,
            reading=None if reading is None else _table_format(reading),
        )

    def same_rows(self, other: Field) -> bool:
        """Return True if rows have the same form and meaning in another field; bounds may differ."""
        ours, theirs = ((f.name, f.shape, f.dtype, f.columns) for f in (self, other))
        return ours == theirs


def _table_format(data: Mapping[str, Any]) -> TableFormat:
    return TableFormat(str(data["delimiter"]), tuple(map(str, data["missing"])))


def _bound(bound: float | Array, array: Array) -> float | Array:
    """Cast a bound to the dtype of the values; otherwise 0.1 as float32 would exceed a bound of 0.1."""
    return bound.astype(array.dtype) if isinstance(bound, np.ndarray) and array.dtype.kind == "f" else bound


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, str | bytes) and array("d", [value]) is not None
    except (TypeError, OverflowError):
        return False


def _brief_input(value: Any) -> str:
    """Describe a value in at most 40 characters."""
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return f"an object of {len(value)} keys"
    text = json.dumps(value) if value is None or isinstance(value, str | bool) else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


@frozen(kw_only=True, eq=False)
class Signature:
    """Inputs and outputs of a model.

    Args:
        kind: kind of the model.
        inputs: one field named ``input``, or one field per key of dict observations.
        outputs: of a classifier ``class`` () int64 and ``probabilities`` (K,); of a regressor ``value`` (K,); of an
            autoencoder ``reconstruction``, ``error`` () (mean squared) and ``code``; of a policy ``action``.
        classes: names of a classifier's classes, in the order of their indices.
        tasks: number of tasks, if the graph takes a ``task_id`` (B,); 0 otherwise.
        state: state of a recurrent policy; the graph takes each field by its name and returns it as ``NAME.next``.
    """

    kind: Literal["classifier", "regressor", "autoencoder", "policy"]
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    classes: tuple[str, ...] = ()
    tasks: int = 0
    state: tuple[Field, ...] = ()

    def arrays(self, value: Any, task_id: int | None = None) -> dict[str, Array]:
        """Check a batch and return the inputs of the graph by name.

        Args:
            value: (B, *shape), or a mapping of such arrays by name if there are several inputs.
            task_id: task id of the whole batch, from 0; required if ``tasks`` is not 0, and None otherwise.

        Raises:
            InvalidInput: see :meth:`Field.rows`; or an input is missing, unknown, or has another number of rows.
        """
        named = value if isinstance(value, Mapping) else {self.inputs[0].name: value}
        names = [field.name for field in self.inputs]
        if set(named) != set(names):
            got = f"arrays named {', '.join(map(str, named))}" if isinstance(value, Mapping) else "one array"
            raise InvalidInput(f"expected arrays named {', '.join(names)}; got {got}", "input")
        arrays = {field.name: field.rows(named[field.name]) for field in self.inputs}
        rows = {len(array) for array in arrays.values()}
        if len(rows) != 1:
            counts = ", ".join(map(str, sorted(rows)))
            raise InvalidInput(f"expected the same number of rows in every input, got {counts}", "input")
        if (task_id is not None) != bool(self.tasks) or (task_id is not None and not 0 <= task_id < self.tasks):
            allowed = f"a whole number from 0 to {self.tasks - 1}" if self.tasks else "none: the model takes no task id"
            raise InvalidInput(f"expected {allowed}, got {task_id}", "task_id", value=task_id)
        if task_id is not None:
            arrays["task_id"] = np.full(rows.pop(), task_id, np.int64)
        return arrays

    def changes(self, other: Signature) -> list[str]:
        """Return the changes in another signature that affect clients, one line per change.

        Wider bounds and another format of files do not affect clients.
        """
        ours, theirs = (dict(_leaves(signature.to_json())) for signature in (self, other))
        return [
            f"{key}: {_brief_setting(ours.get(key))} becomes {_brief_setting(theirs.get(key))}"
            for key in (*ours, *(theirs.keys() - ours.keys()))
            if ours.get(key) != theirs.get(key) and not _is_compatible(key, ours.get(key), theirs.get(key))
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the signature as plain data, the content of ``signature.json``."""
        fields = {k: [f.to_json() for f in getattr(self, k)] for k in ("inputs", "outputs", "state")}
        return {"kind": self.kind, **fields, "classes": list(self.classes), "tasks": self.tasks}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Signature:
        """Create a signature from plain data.

        Raises:
            ValueError, TypeError, KeyError: the data are not in the form of :meth:`to_json`.
        """
        kind = data["kind"]
        if kind not in ("classifier", "regressor", "autoencoder", "policy"):
            raise ValueError(f"kind {kind!r}; allowed: classifier, regressor, autoencoder, policy")
        inputs, outputs, state = (tuple(map(Field.from_json, data[key])) for key in ("inputs", "outputs", "state"))
        if not isinstance(data["classes"], list):
            raise ValueError(f"classes: expected a list, got {_brief_input(data['classes'])}")
        classes = tuple(map(str, data["classes"]))
        return cls(kind=kind, inputs=inputs, outputs=outputs, classes=classes, tasks=int(data["tasks"]), state=state)

    @classmethod
    def read(cls, path: Path) -> Signature:
        """Read a signature file.

        Raises:
            BundleError: the file is missing or is no signature.
        """
        try:
            return cls.from_json(parse_json(path.read_text()))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise BundleError(f"{path} is no signature: {error}; export the run again") from error


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with its key path, in which fields have their names: ``outputs.probabilities.shape``."""
    for key, value in data.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from _leaves({part["name"]: part for part in value}, f"{prefix}{key}.")
        elif isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_compatible(key_path: str, before: Any, after: Any) -> bool:
    """Return True if every request that was valid before a change is valid after it."""
    key = key_path.rpartition(".")[2]
    if key_path.startswith("inputs.") and key in ("low", "high"):
        sign = 1 if key == "high" else -1
        return after is None or (before is not None and bool(np.all(sign * np.subtract(after, before) >= 0)))
    return ".reading" in key_path


def _brief_setting(value: Any) -> str:
    """Describe a value of a signature; long lists are reduced to their length."""
    if isinstance(value, list) and len(value) > 12:
        return f"{len(value)} values"
    return "nothing" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
