"""New examples in an npz file, checked array by array before anything else is done."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from rlcl.deploy.signature import Signature
from rlcl.deploy.updating.incoming import AT_LEAST, LABELLED, Incoming, split, without
from rlcl.errors import BundleError, DataError, Problem

__all__ = ["from_file", "trusted_rows"]

Array = np.ndarray[Any, Any]


def from_file(path: Path, signature: Signature, fraction: float) -> Incoming:
    """Arrays ``x`` (N, *shape) and ``y`` of an npz file: (N,) classes by name or number, or (N, K) numbers.

    Args:
        path: of the file.
        signature: of the model that answers now.
        fraction: of the rows, held out evenly from each class.

    Raises:
        DataError: the file cannot be read, or its arrays do not fit.
    """
    where = f"--from {path}"
    x, y = _rows(path, where, signature, signature.classes)
    try:
        return split(path.stem, x, y, signature, fraction)
    except BundleError as error:
        raise DataError(f"--from {error}") from error


def trusted_rows(path: Path, signature: Signature, incoming: Incoming) -> Incoming:
    """What is new, all of it to be learned from, judged on the rows of a file whose labels are sure.

    Args:
        path: of the npz file, with arrays as :func:`from_file` has them.
        signature: of the model that answers now.
        incoming: what is new.

    Raises:
        DataError: the file cannot be read, does not fit, or has a class that is neither known nor new.
    """
    where = f"--trusted {path}"
    x, y = _rows(path, where, signature, incoming.classes)
    if signature.kind == "classifier":
        unknown = sorted(set(y) - set(incoming.classes))
        if unknown:
            raise DataError(f"{where}: the class {unknown[0]!r} is neither known nor among the new rows; leave it out")
        y = np.array([incoming.classes.index(name) for name in y])
    both = zip(incoming.train, incoming.test, strict=True)
    inputs, labels = (None if first is None or second is None else torch.cat([first, second]) for first, second in both)
    assert inputs is not None
    rows = torch.from_numpy(np.ascontiguousarray(x))
    judged = attrs.evolve(
        incoming, train=(inputs, labels), test=(rows, None if y is None else torch.from_numpy(np.asarray(y)))
    )
    left, _ = without(judged, [rows])
    if not len(left.train[0]):
        raise DataError(f"{where}: it holds every new row, so that there is nothing to learn; leave some out")
    return left


def _rows(path: Path, where: str, signature: Signature, classes: Sequence[str]) -> tuple[Array, Any]:
    """(N, *shape) inputs and their labels: N names of classes, (N, K) numbers, or None."""
    arrays = _arrays(path, where, ("x", "y") if signature.kind in LABELLED else ("x",))
    try:
        x = attrs.evolve(signature.inputs[0], name="x").rows(arrays["x"])
        if len(x) < AT_LEAST:
            raise Problem(f"{len(x)} rows, and an update needs at least {AT_LEAST}", "x")
        if signature.kind == "classifier":
            return x, _names(_of_rows(arrays["y"], len(x), ()), classes)
        if signature.kind == "regressor":
            width = signature.outputs[0].shape
            return x, _numbers(_of_rows(arrays["y"], len(x), width), width)
        return x, None
    except Problem as error:
        raise DataError(f"{where}: {error}") from error


def _arrays(path: Path, where: str, wanted: Sequence[str]) -> dict[str, Array]:
    """The arrays of the file that are asked for; others are left alone."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise DataError(f"{where}: {what}; expected log, or an npz file with {' and '.join(wanted)}")
    try:
        with zipfile.ZipFile(path) as _, np.load(path, allow_pickle=False) as file:
            missing = [name for name in wanted if name not in file.files]
            if missing:
                found = ", ".join(file.files) or "none"
                raise DataError(f"{where}: expected the arrays {' and '.join(wanted)}, no {missing[0]}; found {found}")
            return {name: _plain(file, name, where) for name in wanted}
    except DataError:
        raise
    except Exception as error:  # whatever a damaged file makes of its reader
        raise DataError(f"{where} is no npz file, or damaged ({error}); write it with numpy.savez") from error


def _plain(file: Any, name: str, where: str) -> Array:
    try:
        array = np.asarray(file[name])  # of a member that is no array NumPy gives the bytes
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise DataError(
            f"{where}: {name} holds Python objects, which are not read, for they could run code; make it an array of "
            "numbers or texts (its dtype is object)"
        ) from None
    return array


def _of_rows(y: Array, rows: int, width: tuple[int, ...]) -> Array:
    """The labels (N, *width), which may be (N,) where the width is 1.

    Raises:
        Problem: they are not.
    """
    allowed = [(rows, *width), *([(rows,)] if width == (1,) else [])]
    if y.shape not in allowed:
        raise Problem(f"expected the shape {' or '.join(map(str, allowed))}, as x has {rows} rows; got {y.shape}", "y")
    return y


def _numbers(y: Array, width: tuple[int, ...]) -> Array:
    if y.dtype.kind not in "biuf":
        raise Problem(f"expected numbers, got {y.dtype}", "y")
    bad = ~np.isfinite(y)
    if bad.any():
        place = np.unravel_index(int(np.argmax(bad)), y.shape)
        at = "".join(f"[{i}]" for i in place)
        raise Problem(f"expected a finite number, got {y[place]}", f"y{at}")
    return y.astype(np.float32).reshape(len(y), *width)


def _names(y: Array, classes: Sequence[str]) -> list[str]:
    """The name of each row's class.

    Texts are names. Numbers are names where the names of all known classes are numbers, and numbers of classes, from
    0, where none is.

    Raises:
        Problem: one is neither.
    """
    if y.dtype.kind in "US":
        names = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in y.tolist()]
        if "" in names:
            raise Problem("expected the name of a class, got an empty text", f"y[{names.index('')}]")
        return names
    if y.dtype.kind not in "biuf":
        raise Problem(f"expected classes by name or whole number, got {y.dtype}", "y")
    values, numbers = y.tolist(), [_number(name) for name in classes]
    if None not in numbers:
        known = dict(zip(numbers, classes, strict=True))
        return [known[v] if v in known else str(_whole(v, row)) for row, v in enumerate(values)]
    if any(number is not None for number in numbers):
        raise Problem(
            f"numbers could be names or numbers of classes, which are {_listed(classes)}; give their names as texts",
            "y",
        )
    for row, value in enumerate(values):
        if not 0 <= _whole(value, row) < len(classes):
            raise Problem(
                f"expected a number from 0 to {len(classes) - 1} (of the classes {_listed(classes)}), got {value}; "
                "give new classes by name",
                f"y[{row}]",
            )
    return [classes[int(value)] for value in values]


def _whole(value: float, row: int) -> int:
    if not math.isfinite(value) or value != int(value):
        raise Problem(f"expected a class by name or whole number, got {value}", f"y[{row}]")
    return int(value)


def _number(name: str) -> float | None:
    try:
        value = float(name)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:10])}, ... {names[-1]}"
