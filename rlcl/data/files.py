"""Data sets in files of one's own: CSV, npz and npy."""

from __future__ import annotations

import csv
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.root import find_data
from rlcl.data.sources import Data
from rlcl.data.storage import STORAGE_HELP, WORKERS_HELP, Storage, streams
from rlcl.errors import DataError

__all__ = ["ArrayRows", "Csv", "Npy", "Npz", "held_out", "natural"]


@frozen(kw_only=True)
class Csv:
    """A table with a header line; every column but the target's is a number.

    Args:
        path: of the file, from the working directory or the data root.
        target: name of the column to predict; none for unlabelled data.
        regression: whether the target is a number to predict, not a class.
        test_fraction: of the rows, held out evenly from each class (each range of a number).
        delimiter: between two cells.
    """

    path: str = option(help="of the file, from the working directory or the data root")
    target: str | None = option(None, help="name of the column to predict; none for unlabelled data")
    regression: bool = option(False, help="the target is a number to predict, not a class")
    test_fraction: float = option(0.2, gt=0, lt=1, help="of the rows, held out")
    delimiter: str = option(",", pattern=(r"[\s\S]", "one character"), help="between two cells")

    def load(self) -> Data:
        place = find_data(self.path)
        try:
            with place.open(newline="", encoding="utf-8-sig") as file:
                header, *rows = list(csv.reader(file, delimiter=self.delimiter)) or [[]]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"data {place} is no table that can be read as UTF-8: {error}") from error
        rows = [row for row in rows if row]
        if self.target is not None and self.target not in header:
            raise DataError(f"data {place}: no column {self.target!r}; the header has {', '.join(header)}")
        for number, row in enumerate(rows, 2):
            if len(row) != len(header):
                raise DataError(f"data {place}:{number}: expected {len(header)} cells, got {len(row)}")
        features = [i for i, name in enumerate(header) if name != self.target]
        x = np.array([[_number(row[i], place, line, header[i]) for i in features] for line, row in enumerate(rows, 2)])
        if self.target is None:
            test = held_out(np.zeros(len(x)), self.test_fraction)
            return Data(x[~test], None, x[test], None, name=place.stem)
        column = [row[header.index(self.target)] for row in rows]
        if self.regression:
            y = np.array([_number(cell, place, line, self.target) for line, cell in enumerate(column, 2)])
            test = held_out(np.zeros(len(y)), self.test_fraction)
            return Data(x[~test], y[~test], x[test], y[test], name=place.stem, regression=True)
        names = sorted(set(column), key=natural)
        y = np.array([names.index(cell) for cell in column])
        test = held_out(y, self.test_fraction)
        return Data(x[~test], y[~test], x[test], y[test], name=place.stem, class_names=tuple(names))


@frozen(kw_only=True)
class Npz:
    """Arrays saved by ``numpy.savez``: ``x_train``, ``y_train``, ``x_test``, ``y_test``, or ``x`` and ``y``.

    Args:
        path: of the file, from the working directory or the data root.
        regression: whether y holds numbers to predict, not classes.
        test_fraction: of the rows, held out where the file has no test arrays.
    """

    path: str = option(help="of the file, from the working directory or the data root")
    regression: bool = option(False, help="y holds numbers to predict, not classes")
    test_fraction: float = option(0.2, gt=0, lt=1, help="held out where the file has no test arrays")

    def load(self) -> Data:
        place = find_data(self.path)
        try:
            with zipfile.ZipFile(place) as _, np.load(place, allow_pickle=False) as file:
                arrays = {name: numeric(file[name], f"{place}, {name}") for name in file.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"data {place} is no npz file of plain arrays: {error}") from error
        if {"x_train", "x_test"} <= arrays.keys():
            train, test = (arrays["x_train"], arrays.get("y_train")), (arrays["x_test"], arrays.get("y_test"))
        elif "x" in arrays:
            x, y = arrays["x"], arrays.get("y")
            if x.ndim < 2 or (y is not None and (len(y) != len(x) or (y.ndim != 1 and not self.regression))):
                shapes = f"x of {x.shape}" + ("" if y is None else f", y of {y.shape}")
                raise DataError(f"data {place}: expected x (N, ...) and y (N,), got {shapes}")
            rows = held_out(np.zeros(len(x)) if y is None or self.regression else y, self.test_fraction)
            train, test = (x[~rows], None if y is None else y[~rows]), (x[rows], None if y is None else y[rows])
        else:
            raise DataError(f"data {place}: expected arrays x_train and x_test, or x; got {', '.join(arrays)}")
        return Data(*train, *test, name=place.stem, regression=self.regression)


@frozen(kw_only=True)
class Npy:
    """A folder of arrays saved by ``numpy.save``: ``x_train.npy``, ``y_train.npy``, ``x_test.npy``, ``y_test.npy``.

    The labels may be missing. A stream maps the inputs' files into memory: the system reads what is used.

    Args:
        path: of the folder, from the working directory or the data root.
        regression: whether y holds numbers to predict, not classes.
        storage: ``memory``, ``stream``, or ``auto``: a stream where the inputs would take more than half
            of the memory that is free.
        workers: processes that read a stream; 0 for none beside the run's own.
    """

    path: str = option(help="of the folder, from the working directory or the data root")
    regression: bool = option(False, help="y holds numbers to predict, not classes")
    storage: Storage = option("auto", help=STORAGE_HELP)
    workers: int = option(2, ge=0, help=WORKERS_HELP)

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
        except (ValueError, OSError, EOFError) as error:
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


def _number(cell: str, place: Path, line: int, column: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        found = "an empty cell" if not cell.strip() else repr(cell)
        raise DataError(
            f"data {place}:{line}: column {column}: expected a number, got {found} (the column to predict is named by "
            "target)"
        ) from None
    if not np.isfinite(value):
        raise DataError(f"data {place}:{line}: column {column}: expected a finite number, got {cell}")
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


def natural(text: str) -> tuple[int, float, str]:
    """A key that sorts numbers by value, before text."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)
