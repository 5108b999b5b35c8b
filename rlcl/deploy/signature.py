"""What a bundle takes and gives: arrays by name, with their shapes, dtypes and bounds."""

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

from rlcl.data.cells import absent_numbers
from rlcl.errors import BundleError, Problem
from rlcl.formats import parsed
from rlcl.types import Column, Reading

__all__ = ["Field", "Misplaced", "Signature"]

Array = np.ndarray[Any, Any]
DTYPES = ("float32", "uint8", "int8", "int16", "int32", "int64", "bool")


class Misplaced(Problem):
    """A value that a signature refuses.

    Args:
        message: what is wrong with it.
        name: of the field.
        place: indices of the value in the field, the row first.
        value: what was found there.
    """

    def __init__(self, message: str, name: str, place: Sequence[int] = (), value: Any = None) -> None:
        super().__init__(message, name + "".join(f"[{i}]" for i in place))
        self.name = name
        self.place = tuple(place)
        self.value = value


@frozen(kw_only=True, eq=False)
class Field:
    """One array of a request or of an answer.

    Args:
        name: of the ONNX graph's input or output.
        shape: of one row, without the batch.
        dtype: NumPy's name.
        low, high: smallest and largest value allowed, a number for all or an array of ``shape``; None for no bound.
        missing: whether NaN is allowed, for a value that is not known; None means the same in lists.
        columns: of a table what each value of a row is, and the texts that its numbers from 0 stand for; else none.
        reading: how the file of that table was read; None where it is not known.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    low: float | Array | None = None
    high: float | Array | None = None
    missing: bool = False
    columns: tuple[Column, ...] = ()
    reading: Reading | None = None

    def rows(self, value: Any) -> Array:
        """A batch (B, *shape) of the field's dtype out of an array or nested lists.

        Args:
            value: (B, *shape).

        Raises:
            Misplaced: another shape, a value that is no number, not finite (where none may be missing, NaN among
                those), not whole, or out of bounds; its ``where`` is the value's place, for example ``input[3][17]``.
        """
        array = self._array(value)
        with np.errstate(invalid="ignore", over="ignore"):  # what does not fit is refused below
            cast = array.astype(self.dtype, copy=False)
        if self.columns and cast.dtype.kind == "f":
            cast = self._of_columns(cast, array)
        if cast.dtype.kind == "f" and self._bounded(cast):
            return cast
        if cast.dtype.kind != "f":
            self._refuse(cast != array, array, f"expected a value of {self.dtype}")
        else:
            wrong = np.isinf(cast) if self.missing else ~np.isfinite(cast)
            self._refuse(wrong, array, "expected a finite number")
        if self.low is not None:
            self._refuse(cast < _bound(self.low, cast), array, "expected at least {}", self.low)
        if self.high is not None:
            self._refuse(cast > _bound(self.high, cast), array, "expected at most {}", self.high)
        return cast

    def _of_columns(self, cast: Array, array: Array) -> Array:
        """With NaN for numbers that stand for a missing value, after looking at the numbers of texts."""
        texts = self._texts > 0
        outside = (cast < 0) | (cast >= self._texts) | (cast != np.round(cast))
        told = "expected a whole number from 0 to {}, the place of a text"
        self._refuse(texts & outside & ~np.isnan(cast), array, told, self._texts - 1)
        if not self._absent:
            return cast
        absent = ~texts & np.isin(cast, np.array(self._absent, cast.dtype))
        if not self.missing:
            self._refuse(absent, array, "expected a value that is there, as in all of the training data")
        return np.where(absent, np.array(np.nan, cast.dtype), cast)

    @cached_property
    def _texts(self) -> Array:
        """(F,) how many texts each column has, 0 of numbers."""
        return np.array([len(column.categories) for column in self.columns])

    @cached_property
    def _absent(self) -> tuple[float, ...]:
        """Numbers that stand for a missing value."""
        return absent_numbers(self.reading)

    def _bounded(self, array: Array) -> bool:
        """Whether all is well, at the price of two passes; where this is not sure, the place is looked for.

        Comparisons with NaN are false, so that it is found too, but where it is left out as missing.
        """
        if isinstance(self.low, np.ndarray) or isinstance(self.high, np.ndarray) or not array.size:
            return False
        smaller, greater = (np.fmin, np.fmax) if self.missing else (np.minimum, np.maximum)
        least, most = float(smaller.reduce(array, None)), float(greater.reduce(array, None))
        low = -math.inf if self.low is None else float(array.dtype.type(self.low))
        high = math.inf if self.high is None else float(array.dtype.type(self.high))
        return -math.inf < least >= low and math.inf > most <= high

    def _array(self, value: Any) -> Array:
        if isinstance(value, list | tuple):
            return self._of_lists(value)
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise Misplaced(f"expected numbers, got {array.dtype}", self.name)
        if array.shape[1:] != self.shape or array.ndim != len(self.shape) + 1:
            wanted = ", ".join(["B", *map(str, self.shape)])
            raise Misplaced(f"expected the shape ({wanted}), got {array.shape}", self.name)
        return array

    def _of_lists(self, value: Sequence[Any]) -> Array:
        """Flattened by Python's own loops, which take nothing but numbers; NumPy would read texts as numbers too."""
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
            raise self._fault(value) from None
        return numbers.reshape(len(value), *self.shape)

    def _fault(self, value: Any, place: tuple[int, ...] = ()) -> Misplaced:
        """Names the first item of nested lists that is of another length, or no number."""
        sizes = self.shape[len(place) :]
        for index, item in enumerate(value):
            here = (*place, index)
            if not sizes:
                if item is None and self.missing:
                    continue
                if not _is_number(item) or (isinstance(item, bool) and self.dtype != "bool"):
                    return Misplaced(f"{self._column(here)}expected a number, got {_said(item)}", self.name, here, item)
            elif not isinstance(item, list | tuple | np.ndarray) or len(item) != sizes[0]:
                return Misplaced(f"expected a list of {sizes[0]}, got {_said(item)}", self.name, here, item)
            elif (found := self._fault(item, here)).place:
                return found
        return Misplaced("expected numbers", self.name)

    def _refuse(self, wrong: Array, array: Array, message: str, bound: float | Array = 0.0) -> None:
        if wrong.any():
            place = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), array.shape))
            value = array[place].item()
            limit = float(bound[place[1:]]) if isinstance(bound, np.ndarray) else bound
            raise Misplaced(
                f"{self._column(place)}{message.format(f'{limit:g}')}, got {value}", self.name, place, value
            )

    def _column(self, place: Sequence[int]) -> str:
        """The name of the column of a place, for messages."""
        return f"column {self.columns[place[1]].name}: " if self.columns and len(place) == 2 else ""

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        made = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in attrs.asdict(self).items()}
        columns = [{"name": column.name, "categories": list(column.categories)} for column in self.columns]
        reading = self.reading and {"delimiter": self.reading.delimiter, "missing": list(self.reading.missing)}
        return {**made, "shape": list(self.shape), "columns": columns, "reading": reading}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Field:
        """
        Raises:
            ValueError, TypeError, KeyError: it is not what :meth:`to_json` gives.
        """
        if data["dtype"] not in DTYPES:
            raise ValueError(f"dtype {data['dtype']!r}; allowed: {', '.join(DTYPES)}")
        shape = tuple(int(n) for n in data["shape"])
        if any(n < 0 for n in shape):
            raise ValueError(f"shape {list(shape)}; lengths are not negative")
        bounds = (None if data[k] is None else np.asarray(data[k], np.float64) for k in ("low", "high"))
        low, high = (float(b) if b is not None and b.ndim == 0 else b for b in bounds)
        name, missing = str(data["name"]), data.get("missing", False)  # those from before there was any have neither
        if not isinstance(missing, bool):
            raise ValueError(f"missing {missing!r}; allowed: true, false")
        columns = tuple(Column(str(c["name"]), tuple(map(str, c["categories"]))) for c in data.get("columns", ()))
        if columns and shape != (len(columns),):
            raise ValueError(f"{len(columns)} columns of {name}, of the shape {shape}")
        said = data.get("reading")
        return cls(
            name=name,
            shape=shape,
            dtype=data["dtype"],
            low=low,
            high=high,
            missing=missing,
            columns=columns,
            reading=None if said is None else Reading(str(said["delimiter"]), tuple(map(str, said["missing"]))),
        )

    def same_rows(self, other: Field) -> bool:
        """Whether rows of the one mean the same in the other, whatever values these allow."""
        ours, theirs = ((f.name, f.shape, f.dtype, f.columns) for f in (self, other))
        return ours == theirs


def _bound(bound: float | Array, array: Array) -> float | Array:
    """A bound in the precision of what it is compared with, or 0.1 as float32 lies above 0.1."""
    return bound.astype(array.dtype) if isinstance(bound, np.ndarray) and array.dtype.kind == "f" else bound


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, str | bytes) and array("d", [value]) is not None
    except (TypeError, OverflowError):
        return False


def _said(value: Any) -> str:
    """What was found, briefly."""
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return f"an object of {len(value)} keys"
    text = json.dumps(value) if value is None or isinstance(value, str | bool) else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


@frozen(kw_only=True, eq=False)
class Signature:
    """What a model takes and gives.

    Args:
        kind: what it is.
        inputs: one field named ``input``; of dict observations one a key.
        outputs: a classifier gives ``class`` () int64 and ``probabilities`` (K,), a regressor ``value`` (K,), an
            autoencoder ``reconstruction``, ``error`` () (mean squared) and ``code``, a policy ``action``.
        classes: names of a classifier's classes, by number.
        tasks: how many tasks it tells apart, 0 where it takes no task id; with it the graph takes ``task_id`` (B,).
        state: what a recurrent policy hands on from step to step; the graph takes each by its name and gives it as
            ``NAME.next``.
    """

    kind: Literal["classifier", "regressor", "autoencoder", "policy"]
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    classes: tuple[str, ...] = ()
    tasks: int = 0
    state: tuple[Field, ...] = ()

    def arrays(self, value: Any, task_id: int | None = None) -> dict[str, Array]:
        """What the graph is fed with for a batch.

        Args:
            value: (B, *shape), or a mapping of such by name where there are several inputs.
            task_id: from 0, of the whole batch; given exactly where ``tasks`` is not 0.

        Raises:
            Misplaced: see :meth:`Field.rows`; or inputs that are missing, unknown, or of unequal lengths.
        """
        named = value if isinstance(value, Mapping) else {self.inputs[0].name: value}
        wanted = [field.name for field in self.inputs]
        if set(named) != set(wanted):
            got = f"arrays named {', '.join(map(str, named))}" if isinstance(value, Mapping) else "one array"
            raise Misplaced(f"expected arrays named {', '.join(wanted)}; got {got}", "input")
        made = {field.name: field.rows(named[field.name]) for field in self.inputs}
        rows = {len(array) for array in made.values()}
        if len(rows) != 1:
            raise Misplaced(f"expected as many rows of each input, got {', '.join(map(str, sorted(rows)))}", "input")
        if (task_id is not None) != bool(self.tasks) or (task_id is not None and not 0 <= task_id < self.tasks):
            allowed = (
                f"a whole number from 0 to {self.tasks - 1}" if self.tasks else "none: the model tells no tasks apart"
            )
            raise Misplaced(f"expected {allowed}, got {task_id}", "task_id", value=task_id)
        if task_id is not None:
            made["task_id"] = np.full(rows.pop(), task_id, np.int64)
        return made

    def changes(self, other: Signature) -> list[str]:
        """How another signature differs, one line each; nothing where a client notices nothing.

        No client notices wider bounds, or how files are read.
        """
        ours, theirs = (dict(_leaves(signature.to_json())) for signature in (self, other))
        return [
            f"{place}: {_brief(ours.get(place))} becomes {_brief(theirs.get(place))}"
            for place in (*ours, *(theirs.keys() - ours.keys()))
            if ours.get(place) != theirs.get(place) and not _unnoticed(place, ours.get(place), theirs.get(place))
        ]

    def to_json(self) -> dict[str, Any]:
        """As plain data, the content of ``signature.json``."""
        fields = {k: [f.to_json() for f in getattr(self, k)] for k in ("inputs", "outputs", "state")}
        return {"kind": self.kind, **fields, "classes": list(self.classes), "tasks": self.tasks}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Signature:
        """
        Raises:
            ValueError, TypeError, KeyError: it is not what :meth:`to_json` gives.
        """
        kind = data["kind"]
        if kind not in ("classifier", "regressor", "autoencoder", "policy"):
            raise ValueError(f"kind {kind!r}")
        inputs, outputs, state = (tuple(map(Field.from_json, data[key])) for key in ("inputs", "outputs", "state"))
        if not isinstance(data["classes"], list):
            raise ValueError(f"classes: expected a list, got {_said(data['classes'])}")
        classes = tuple(map(str, data["classes"]))
        return cls(kind=kind, inputs=inputs, outputs=outputs, classes=classes, tasks=int(data["tasks"]), state=state)

    @classmethod
    def read(cls, path: Path) -> Signature:
        """
        Raises:
            BundleError: the file is missing or is no signature.
        """
        try:
            return cls.from_json(parsed(path.read_text()))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise BundleError(f"{path} is no signature: {error}; export the run again") from error


def _leaves(data: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Values by their places, those of fields by the fields' names: ``outputs.probabilities.shape``."""
    for key, value in data.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from _leaves({part["name"]: part for part in value}, f"{before}{key}.")
        elif isinstance(value, dict):
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _unnoticed(place: str, before: Any, after: Any) -> bool:
    """Whether a change at a place lets every request pass that passed before."""
    key = place.rpartition(".")[2]
    if place.startswith("inputs.") and key in ("low", "high"):
        sign = 1 if key == "high" else -1
        return after is None or (before is not None and bool(np.all(sign * np.subtract(after, before) >= 0)))
    return ".reading" in place


def _brief(value: Any) -> str:
    if isinstance(value, list) and len(value) > 12:
        return f"{len(value)} values"
    return "nothing" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
