"""Reader of new examples in an npz file, with checks of every array."""

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
from rlcl.deploy.updating.new_data import LABELLED, MIN_ROWS, NewData, split_rows, without_inputs
from rlcl.errors import BundleError, DataError, Problem

__all__ = ["read_npz", "use_trusted_rows"]

Array = np.ndarray[Any, Any]


def read_npz(path: Path, signature: Signature, fraction: float) -> NewData:
    """Read new data from an npz file and split them into training and held-out rows.

    The file contains ``x`` (N, *shape) and, for a classifier or regressor, ``y``: (N,) class names or indices, or
    (N, K) numbers.

    Args:
        path: path of the file.
        signature: signature of the deployed model.
        fraction: fraction of held-out rows, stratified by class.

    Raises:
        DataError: the file cannot be read, or its arrays do not match the signature.
    """
    where = f"--from {path}"
    x, y = _rows(path, where, signature, signature.classes)
    try:
        return split_rows(path.stem, x, y, signature, fraction)
    except BundleError as error:
        raise DataError(f"--from {error}") from error


def use_trusted_rows(path: Path, signature: Signature, new_data: NewData) -> NewData:
    """Use all new data for training, and the rows of a file with verified labels as held-out rows.

    Args:
        path: path of the npz file, with the arrays of :func:`read_npz`.
        signature: signature of the deployed model.
        new_data: new data.

    Raises:
        DataError: the file cannot be read, does not match the signature, or has a class that is neither known nor in
            the new data.
    """
    where = f"--trusted {path}"
    x, y = _rows(path, where, signature, new_data.classes)
    if signature.kind == "classifier":
        unknown = sorted(set(y) - set(new_data.classes))
        if unknown:
            raise DataError(f"{where}: the class {unknown[0]!r} is neither known nor in the new data; remove its rows")
        y = np.array([new_data.classes.index(name) for name in y])
    pairs = zip(new_data.train, new_data.test, strict=True)
    inputs, labels = (None if train is None or test is None else torch.cat([train, test]) for train, test in pairs)
    assert inputs is not None
    rows = torch.from_numpy(np.ascontiguousarray(x))
    trusted = attrs.evolve(
        new_data, train=(inputs, labels), test=(rows, None if y is None else torch.from_numpy(np.asarray(y)))
    )
    remaining, _ = without_inputs(trusted, [rows])
    if not len(remaining.train[0]):
        raise DataError(f"{where}: the file contains every new row, so none remains for training; remove some of them")
    return remaining


def _rows(path: Path, where: str, signature: Signature, classes: Sequence[str]) -> tuple[Array, Any]:
    """Return the inputs (N, *shape) and their labels: N class names, (N, K) numbers, or None."""
    arrays = _arrays(path, where, ("x", "y") if signature.kind in LABELLED else ("x",))
    try:
        x = attrs.evolve(signature.inputs[0], name="x").rows(arrays["x"])
        if len(x) < MIN_ROWS:
            raise Problem(f"{len(x)} rows; an update needs at least {MIN_ROWS}", "x")
        if signature.kind == "classifier":
            return x, _class_names(_checked_labels(arrays["y"], len(x), ()), classes)
        if signature.kind == "regressor":
            width = signature.outputs[0].shape
            return x, _numbers(_checked_labels(arrays["y"], len(x), width), width)
        return x, None
    except Problem as error:
        raise DataError(f"{where}: {error}") from error


def _arrays(path: Path, where: str, names: Sequence[str]) -> dict[str, Array]:
    """Return the arrays of the given names; other arrays of the file are ignored."""
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "no such file"
        raise DataError(f"{where}: {fault}; expected log, or an npz file with {' and '.join(names)}")
    try:
        with zipfile.ZipFile(path) as _, np.load(path, allow_pickle=False) as file:
            missing = [name for name in names if name not in file.files]
            if missing:
                present = ", ".join(file.files) or "no arrays"
                raise DataError(
                    f"{where}: expected the arrays {' and '.join(names)}; {missing[0]} is missing, the file contains "
                    f"{present}"
                )
            return {name: _load_array(file, name, where) for name in names}
    except DataError:
        raise
    except Exception as error:  # a damaged file can raise any exception in its reader
        raise DataError(f"{where} is not an npz file, or is damaged ({error}); write it with numpy.savez") from error


def _load_array(file: Any, name: str, where: str) -> Array:
    try:
        array = np.asarray(file[name])  # NumPy returns the bytes of a member that is not an array
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise DataError(
            f"{where}: {name} has the dtype object; Python objects are rejected because loading them can execute code; "
            "write an array of numbers or texts"
        ) from None
    return array


def _checked_labels(y: Array, rows: int, width: tuple[int, ...]) -> Array:
    """Return the labels after checking their shape: (N, *width), or (N,) if the width is 1.

    Raises:
        Problem: the shape differs.
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
        index = np.unravel_index(int(np.argmax(bad)), y.shape)
        brackets = "".join(f"[{i}]" for i in index)
        raise Problem(f"expected a finite number, got {y[index]}", f"y{brackets}")
    return y.astype(np.float32).reshape(len(y), *width)


def _class_names(y: Array, classes: Sequence[str]) -> list[str]:
    """Return the class name of each row.

    Texts are class names. Numbers are class names if the names of all known classes are numbers, and class indices from
    0 if no name is a number.

    Raises:
        Problem: a label is neither a class name nor a class index.
    """
    if y.dtype.kind in "US":
        names = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in y.tolist()]
        if "" in names:
            raise Problem("expected a class name, got an empty text", f"y[{names.index('')}]")
        return names
    if y.dtype.kind not in "biuf":
        raise Problem(f"expected class names or integers, got {y.dtype}", "y")
    values, numeric_names = y.tolist(), [_as_number(name) for name in classes]
    if None not in numeric_names:
        names_by_number = dict(zip(numeric_names, classes, strict=True))
        return [names_by_number[v] if v in names_by_number else str(_integer(v, row)) for row, v in enumerate(values)]
    if any(number is not None for number in numeric_names):
        raise Problem(
            f"numbers are ambiguous: they could be names or indices of the classes {_class_list(classes)}; write class "
            "names as texts",
            "y",
        )
    for row, value in enumerate(values):
        if not 0 <= _integer(value, row) < len(classes):
            raise Problem(
                f"expected an index from 0 to {len(classes) - 1} (of the classes {_class_list(classes)}), got {value}; "
                "write new classes by name",
                f"y[{row}]",
            )
    return [classes[int(value)] for value in values]


def _integer(value: float, row: int) -> int:
    if not math.isfinite(value) or value != int(value):
        raise Problem(f"expected a class name or an integer, got {value}", f"y[{row}]")
    return int(value)


def _as_number(name: str) -> float | None:
    try:
        value = float(name)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _class_list(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:10])}, ... {names[-1]}"
