"""Data sets in files of one's own: CSV, npz and npy."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.cells import notation, number
from rlcl.data.expect import Expectation
from rlcl.data.readers.text import check_header, check_labels, classes, read_csv
from rlcl.data.root import find_data
from rlcl.data.sources import Data
from rlcl.data.storage import Storage, streams
from rlcl.data.suspicious import warn_of_classes, warn_of_index, warn_of_merging
from rlcl.errors import DataError
from rlcl.types import MISSING, Column, DataSet, Reading

__all__ = ["ArrayRows", "Csv", "Npy", "Npz", "check_tested", "held_out"]


@frozen(kw_only=True)
class Csv(DataSet):
    """A table with a header line; every column but the target's is a number.

    Args:
        path: of the file, from the working directory or the data root.
        target: name of the column to predict; none for unlabelled data.
        regression: whether the target is a number to predict, not a class.
        test_fraction: of the rows, held out evenly from each class (each range of a number).
        delimiter: between two cells.
        expect: what the data must be, checked when they are loaded.
    """

    path: str = option()
    target: str | None = option(None)
    regression: bool = option(False)
    test_fraction: float = option(0.2, gt=0, lt=1)
    delimiter: str = option(",", pattern=(r"[\s\S]", "one character"))
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        place = find_data(self.path)
        header, lines, rows = read_csv(place, self.delimiter)
        check_header(place, header, () if self.target is None else (self.target,), rows)
        features = [i for i, name in enumerate(header) if name != self.target]
        numbered = list(zip(lines, rows, strict=True))
        x = np.array([[_number(row[i], place, line, header[i]) for i in features] for line, row in numbered])
        names: tuple[str, ...] = ()
        y = None
        if self.target is not None:
            at = header.index(self.target)
            if self.regression:
                y = np.array([_number(row[at], place, line, self.target) for line, row in numbered])
            else:
                check_labels(place, lines, [None if row[at] in MISSING else row[at] for row in rows], self.target)
                y, names = classes([row[at] for row in rows])
                warn_of_classes(place, self.target, [row[at] for row in rows])
        strata = np.zeros(len(x)) if y is None or self.regression else y
        test = held_out(strata, self.test_fraction)
        check_tested(place, test, strata, self.test_fraction)
        labels = (None, None) if y is None else (y[~test], y[test])
        columns = tuple(Column(header[i]) for i in features)
        warn_of_index(place, columns, x)
        warn_of_merging(place, x, columns)
        return Data(
            x[~test],
            labels[0],
            x[test],
            labels[1],
            name=place.stem,
            class_names=names,
            regression=self.regression and y is not None,
            columns=columns,
            lines=split_lines(lines, test),
            reading=Reading(self.delimiter, ()),
        )


@frozen(kw_only=True)
class Npz(DataSet):
    """Arrays saved by ``numpy.savez``: ``x_train``, ``y_train``, ``x_test``, ``y_test``, or ``x`` and ``y``.

    Args:
        path: of the file, from the working directory or the data root.
        regression: whether y holds numbers to predict, not classes.
        test_fraction: of the rows, held out where the file has no test arrays.
        expect: what the data must be, checked when they are loaded.
    """

    path: str = option()
    regression: bool = option(False)
    test_fraction: float = option(0.2, gt=0, lt=1)
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        place = find_data(self.path)
        try:
            with zipfile.ZipFile(place) as _, np.load(place, allow_pickle=False) as file:
                arrays = {name: numeric(file[name], f"{place}, {name}") for name in file.files}
        except DataError:
            raise
        except Exception as error:  # whatever a damaged file makes of its reader
            raise DataError(f"data {place} is no npz file of plain arrays: {error}") from error
        if {"x_train", "x_test"} <= arrays.keys():
            train, test = (arrays["x_train"], arrays.get("y_train")), (arrays["x_test"], arrays.get("y_test"))
        elif "x" in arrays:
            x, y = arrays["x"], arrays.get("y")
            if x.ndim < 2 or (y is not None and (len(y) != len(x) or (y.ndim != 1 and not self.regression))):
                shapes = f"x of {x.shape}" + ("" if y is None else f", y of {y.shape}")
                raise DataError(f"data {place}: expected x (N, ...) and y (N,), got {shapes}")
            strata = np.zeros(len(x)) if y is None or self.regression else y
            rows = held_out(strata, self.test_fraction)
            check_tested(place, rows, strata, self.test_fraction)
            train, test = (x[~rows], None if y is None else y[~rows]), (x[rows], None if y is None else y[rows])
        else:
            raise DataError(f"data {place}: expected arrays x_train and x_test, or x; got {', '.join(arrays)}")
        warn_of_merging(place, train[0])
        return Data(*train, *test, name=place.stem, regression=self.regression)


@frozen(kw_only=True)
class Npy(DataSet):
    """A folder of arrays saved by ``numpy.save``: ``x_train.npy``, ``y_train.npy``, ``x_test.npy``, ``y_test.npy``.

    The labels may be missing. A stream maps the inputs' files into memory: the system reads what is used.

    Args:
        path: of the folder, from the working directory or the data root.
        regression: whether y holds numbers to predict, not classes.
        storage: ``memory``, ``stream``, or ``auto``: a stream where the inputs would take more than half
            of the memory that is free.
        workers: processes that read a stream; 0 for none beside the run's own.
        expect: what the data must be, checked when they are loaded.
    """

    path: str = option()
    regression: bool = option(False)
    storage: Storage = option("auto")
    workers: int = option(2, ge=0)
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        place = find_data(self.path)
        x, x_test = self._mapped(place / "x_train.npy"), self._mapped(place / "x_test.npy")
        labels = [self._labels(place / f"y_{half}.npy") for half in ("train", "test")]
        if streams(place.name, self.storage, x.size + x_test.size, x.itemsize):
            train = ArrayRows(x, place / "x_train.npy", self.workers)
            test = ArrayRows(x_test, place / "x_test.npy", self.workers)
            return Data(train, labels[0], test, labels[1], name=place.name, regression=self.regression)
        return Data(x, labels[0], x_test, labels[1], name=place.name, regression=self.regression)

    def _mapped(self, path: Path) -> np.ndarray[Any, Any]:
        if not path.is_file():
            raise DataError(
                f"no data at {path}; expected x_train.npy and x_test.npy in the folder, saved by numpy.save"
            )
        try:
            array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # whatever a damaged file makes of its reader
            raise DataError(f"data {path} is no npy file of a plain array: {error}") from error
        if array.dtype.kind not in "biuf" or not array.dtype.isnative:
            raise DataError(f"data {path}: expected numbers in this machine's byte order, got {array.dtype}")
        return array

    def _labels(self, path: Path) -> np.ndarray[Any, Any] | None:
        return np.array(self._mapped(path)) if path.is_file() else None


@frozen(eq=False)
class ArrayRows:
    """An array in a file, mapped into memory.

    Args:
        array: (N, *observation).
        path: of the file, for messages.
        workers: processes that read minibatches of it.
    """

    array: np.ndarray[Any, Any]
    path: Path
    workers: int = 2

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self.array.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.index_select(0, torch.arange(0)).dtype

    @property
    def identity(self) -> str:
        return f"{self.path.name} {self.path.stat().st_size}"

    def __len__(self) -> int:
        return len(self.array)

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """(B, *observation) of rows (B,) int64.

        Raises:
            DataError: a value that is not finite.
        """
        read = self.array[rows.numpy()]
        if not np.isfinite(read).all():
            row = int(rows[int(np.flatnonzero(~np.isfinite(read).reshape(len(read), -1).all(1))[0])])
            raise DataError(f"data {self.path}: row {row} holds NaN or infinite values; remove or impute them")
        return torch.from_numpy(read.astype(np.float32) if read.dtype == np.float64 else read)


def split_lines(lines: Sequence[int], test: np.ndarray[Any, Any]) -> tuple[list[int], list[int]]:
    """Line numbers of the training and of the test rows."""
    return [n for n, t in zip(lines, test, strict=True) if not t], [n for n, t in zip(lines, test, strict=True) if t]


def held_out(labels: Any, fraction: float) -> np.ndarray[Any, Any]:
    """(N,) bool: which rows are for testing, the same ones always: every k-th of each class, evenly spread.

    Args:
        labels: (N,) classes.
        fraction: in (0, 1).
    """
    labels = np.asarray(labels)
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        steps = np.floor((np.arange(len(rows)) + 1) * fraction + 1e-9)
        test[rows[np.diff(steps, prepend=0) > 0]] = True
    return test


NUMBERS = "set regression: true if a number is to be predicted"


def check_tested(place: Path, test: Any, labels: Any, fraction: float, remedy: str = NUMBERS) -> None:
    """Refuse rows of which none is held out.

    Args:
        place: of the file.
        test: (N,) bool; see :func:`held_out`.
        labels: (N,) classes, of which rows were to be held out.
        fraction: of them, in (0, 1).
        remedy: of the data set, beside another fraction.

    Raises:
        DataError: all are for training.
    """
    if test.any():
        return
    classes, least = len(np.unique(np.asarray(labels))), math.ceil(1 / fraction - 1e-9)
    few = f"each of its {classes:,} classes has fewer than {least}" if classes > 1 else f"it has fewer than {least}"
    raise DataError(
        f"data {place}: no row is left to test on: a share of {fraction:g} of each class is held out, and {few} rows; "
        f"{remedy}, raise test_fraction, or give test rows of their own"
    )


def _number(cell: str, place: Path, line: int, column: str) -> float:
    value = np.nan if cell.lower() == "nan" else number(cell)
    where = f"data {place}:{line}: column {column}"
    if value is None and cell in MISSING:
        found = "an empty cell" if not cell else repr(cell)
        raise DataError(f"{where}: expected a number, got {found}; the data set table takes missing values")
    if value is None:
        told = notation([cell])
        remedy = (
            "the column to predict is named by target, and the data set table takes columns of texts"
            if told is None
            else f"it looks like one of {told[0]}: {told[1]}"
        )
        raise DataError(f"{where}: expected a number, got {cell!r}; {remedy}")
    if not np.isfinite(value):
        raise DataError(f"{where}: expected a finite number, got {cell}; the data set table takes missing values")
    return value


def numeric(array: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, Any]:
    """The array in this machine's byte order.

    Raises:
        DataError: it does not hold numbers.
    """
    if array.dtype.kind not in "biuf":
        raise DataError(f"data {where}: expected numbers, got {array.dtype}")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native.astype(np.float32) if native.dtype == np.longdouble else native
