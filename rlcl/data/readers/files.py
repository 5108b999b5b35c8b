"""Data sets in the user's files: CSV, npz and npy."""

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
from rlcl.data.cells import detect_notation, parse_number
from rlcl.data.column_warnings import warn_about_classes, warn_about_index, warn_about_merging
from rlcl.data.expect import Expectation
from rlcl.data.readers.text_tables import check_header, check_labels, encode_classes, read_csv
from rlcl.data.root import find_data
from rlcl.data.sources import Data
from rlcl.data.storage import Storage, should_stream
from rlcl.errors import DataError
from rlcl.types import MISSING, DataSet, TableColumn, TableFormat

__all__ = ["ArrayRows", "Csv", "Npy", "Npz", "check_test_rows", "held_out_mask"]


@frozen(kw_only=True)
class Csv(DataSet):
    """CSV file with a header line. All columns except the target must be numeric.

    Args:
        path: path of the file, relative to the working directory or the data root.
        target: name of the column to predict; null for unlabelled data.
        regression: whether the target is a number to predict, not a class.
        test_fraction: share of the rows held out as test set, the same share of each class.
        delimiter: character between two cells.
        expect: expected properties of the data, checked on loading.
    """

    path: str = option()
    target: str | None = option(None)
    regression: bool = option(False)
    test_fraction: float = option(0.2, gt=0, lt=1)
    delimiter: str = option(",", pattern=(r"[\s\S]", "one character"))
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        path = find_data(self.path)
        header, lines, rows = read_csv(path, self.delimiter)
        check_header(path, header, () if self.target is None else (self.target,), rows)
        features = [i for i, name in enumerate(header) if name != self.target]
        numbered = list(zip(lines, rows, strict=True))
        x = np.array([[_cell_number(row[i], path, line, header[i]) for i in features] for line, row in numbered])
        names: tuple[str, ...] = ()
        y = None
        if self.target is not None:
            index = header.index(self.target)
            cells = [row[index] for row in rows]
            if self.regression:
                y = np.array([_cell_number(row[index], path, line, self.target) for line, row in numbered])
            else:
                check_labels(path, lines, [None if cell in MISSING else cell for cell in cells], self.target)
                y, names = encode_classes(cells)
                warn_about_classes(path, self.target, cells)
        strata = np.zeros(len(x)) if y is None or self.regression else y
        test = held_out_mask(strata, self.test_fraction)
        check_test_rows(path, test, strata, self.test_fraction)
        labels = (None, None) if y is None else (y[~test], y[test])
        columns = tuple(TableColumn(header[i]) for i in features)
        warn_about_index(path, columns, x)
        warn_about_merging(path, x, columns)
        return Data(
            x[~test],
            labels[0],
            x[test],
            labels[1],
            name=path.stem,
            class_names=names,
            regression=self.regression and y is not None,
            columns=columns,
            lines=split_lines(lines, test),
            reading=TableFormat(self.delimiter, ()),
        )


@frozen(kw_only=True)
class Npz(DataSet):
    """Arrays saved by ``numpy.savez``: ``x_train``, ``y_train``, ``x_test``, ``y_test``, or ``x`` and ``y``.

    Args:
        path: path of the file, relative to the working directory or the data root.
        regression: whether y holds numbers to predict, not classes.
        test_fraction: share of the rows held out as test set if the file has no test arrays.
        expect: expected properties of the data, checked on loading.
    """

    path: str = option()
    regression: bool = option(False)
    test_fraction: float = option(0.2, gt=0, lt=1)
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        path = find_data(self.path)
        try:
            with zipfile.ZipFile(path) as _, np.load(path, allow_pickle=False) as file:
                arrays = {name: native_numbers(file[name], f"{path}, {name}") for name in file.files}
        except DataError:
            raise
        except Exception as error:  # a damaged file can raise any error in the reader
            raise DataError(f"data {path} is no npz file of plain arrays: {error}; save it with numpy.savez") from error
        if {"x_train", "x_test"} <= arrays.keys():
            train, test = (arrays["x_train"], arrays.get("y_train")), (arrays["x_test"], arrays.get("y_test"))
        elif "x" in arrays:
            x, y = arrays["x"], arrays.get("y")
            if x.ndim < 2 or (y is not None and (len(y) != len(x) or (y.ndim != 1 and not self.regression))):
                shapes = f"x of {x.shape}" + ("" if y is None else f", y of {y.shape}")
                raise DataError(f"data {path}: expected x (N, ...) and y (N,), got {shapes}")
            strata = np.zeros(len(x)) if y is None or self.regression else y
            rows = held_out_mask(strata, self.test_fraction)
            check_test_rows(path, rows, strata, self.test_fraction)
            train, test = (x[~rows], None if y is None else y[~rows]), (x[rows], None if y is None else y[rows])
        else:
            raise DataError(f"data {path}: expected arrays x_train and x_test, or x; got {', '.join(arrays)}")
        warn_about_merging(path, train[0])
        return Data(*train, *test, name=path.stem, regression=self.regression)


@frozen(kw_only=True)
class Npy(DataSet):
    """Folder of arrays saved by ``numpy.save``: ``x_train.npy``, ``y_train.npy``, ``x_test.npy``, ``y_test.npy``.

    The files of labels are optional. With ``storage: stream``, the files of inputs are memory-mapped and read on
    demand.

    Args:
        path: path of the folder, relative to the working directory or the data root.
        regression: whether y holds numbers to predict, not classes.
        storage: ``memory``, ``stream``, or ``auto``, which is ``stream`` if the inputs would take more than half of
            the free memory.
        workers: number of additional processes that read streamed inputs.
        expect: expected properties of the data, checked on loading.
    """

    path: str = option()
    regression: bool = option(False)
    storage: Storage = option("auto")
    workers: int = option(2, ge=0)
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        folder = find_data(self.path)
        x, x_test = self._mapped(folder / "x_train.npy"), self._mapped(folder / "x_test.npy")
        labels = [self._labels(folder / f"y_{split}.npy") for split in ("train", "test")]
        if should_stream(folder.name, self.storage, x.size + x_test.size, x.itemsize):
            train = ArrayRows(x, folder / "x_train.npy", self.workers)
            test = ArrayRows(x_test, folder / "x_test.npy", self.workers)
            return Data(train, labels[0], test, labels[1], name=folder.name, regression=self.regression)
        return Data(x, labels[0], x_test, labels[1], name=folder.name, regression=self.regression)

    def _mapped(self, path: Path) -> np.ndarray[Any, Any]:
        if not path.is_file():
            raise DataError(
                f"no data at {path}; expected x_train.npy and x_test.npy in the folder, saved by numpy.save"
            )
        try:
            array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # a damaged file can raise any error in the reader
            raise DataError(f"data {path} is no npy file of a plain array: {error}; save it with numpy.save") from error
        if array.dtype.kind not in "biuf" or not array.dtype.isnative:
            raise DataError(f"data {path}: expected numbers in the native byte order, got {array.dtype}")
        return array

    def _labels(self, path: Path) -> np.ndarray[Any, Any] | None:
        return np.array(self._mapped(path)) if path.is_file() else None


@frozen(eq=False)
class ArrayRows:
    """Rows of a memory-mapped array.

    Args:
        array: (N, *observation).
        path: path of the file, for messages.
        workers: number of processes that read minibatches.
    """

    array: np.ndarray[Any, Any]
    path: Path
    workers: int = 2

    @property
    def shape(self) -> torch.Size:
        """(N, *observation)."""
        return torch.Size(self.array.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the inputs."""
        return self.index_select(0, torch.arange(0)).dtype

    @property
    def identity(self) -> str:
        """Name and size of the file."""
        return f"{self.path.name} {self.path.stat().st_size}"

    def __len__(self) -> int:
        return len(self.array)

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Read rows, given by indices (B,) int64, to (B, *observation).

        Raises:
            DataError: a value is not finite.
        """
        selected = self.array[rows.numpy()]
        if not np.isfinite(selected).all():
            row = int(rows[int(np.flatnonzero(~np.isfinite(selected).reshape(len(selected), -1).all(1))[0])])
            raise DataError(f"data {self.path}: row {row} holds NaN or infinite values; remove or impute them")
        return torch.from_numpy(selected.astype(np.float32) if selected.dtype == np.float64 else selected)


def split_lines(lines: Sequence[int], test: np.ndarray[Any, Any]) -> tuple[list[int], list[int]]:
    """Return the line numbers of the training rows and of the test rows."""
    return [n for n, t in zip(lines, test, strict=True) if not t], [n for n, t in zip(lines, test, strict=True) if t]


def held_out_mask(labels: Any, fraction: float) -> np.ndarray[Any, Any]:
    """Return the mask (N,) bool of the test rows: evenly spaced rows of each class, the same ones in each call.

    Args:
        labels: (N,) classes.
        fraction: share of test rows, in (0, 1).
    """
    labels = np.asarray(labels)
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        steps = np.floor((np.arange(len(rows)) + 1) * fraction + 1e-9)
        test[rows[np.diff(steps, prepend=0) > 0]] = True
    return test


SET_REGRESSION = "set regression: true if the target is a number"


def check_test_rows(path: Path, test: Any, labels: Any, fraction: float, remedy: str = SET_REGRESSION) -> None:
    """Check that at least one row is held out as a test row.

    Args:
        path: path of the file.
        test: (N,) bool; see :func:`held_out_mask`.
        labels: (N,) classes.
        fraction: share of each class that is held out, in (0, 1).
        remedy: a remedy for this kind of data set, besides a larger fraction.

    Raises:
        DataError: all rows are training rows.
    """
    if test.any():
        return
    classes, required = len(np.unique(np.asarray(labels))), math.ceil(1 / fraction - 1e-9)
    count = f"each of its {classes:,} classes has" if classes > 1 else "it has"
    raise DataError(
        f"data {path}: no test rows: a share of {fraction:g} of each class is held out, but {count} fewer than "
        f"{required} rows; {remedy}, raise test_fraction, or provide separate test rows"
    )


def _cell_number(cell: str, path: Path, line: int, column: str) -> float:
    value = np.nan if cell.lower() == "nan" else parse_number(cell)
    where = f"data {path}:{line}: column {column}"
    if value is None and cell in MISSING:
        text = "an empty cell" if not cell else repr(cell)
        raise DataError(f"{where}: expected a number, got {text}; use the data set table for missing values")
    if value is None:
        notation = detect_notation([cell])
        remedy = (
            "set target to the column to predict, and use the data set table for columns of texts"
            if notation is None
            else f"it looks like one of {notation[0]}: {notation[1]}"
        )
        raise DataError(f"{where}: expected a number, got {cell!r}; {remedy}")
    if not np.isfinite(value):
        raise DataError(f"{where}: expected a finite number, got {cell}; use the data set table for missing values")
    return value


def native_numbers(array: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, Any]:
    """Convert an array to the native byte order.

    Raises:
        DataError: it does not hold numbers.
    """
    if array.dtype.kind not in "biuf":
        raise DataError(f"data {where}: expected numbers, got {array.dtype}")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native.astype(np.float32) if native.dtype == np.longdouble else native
