"""Data sets in files of one's own: CSV, npz and folders of images."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from rlcl.config import option
from rlcl.data.root import find_data
from rlcl.data.sources import Data
from rlcl.errors import DataError

__all__ = ["Csv", "ImageFolder", "Npz", "held_out"]

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")


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
    delimiter: str = option(",", help="between two cells")

    def load(self) -> Data:
        place = find_data(self.path)
        with place.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file, delimiter=self.delimiter)) or [[]]
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
        names = sorted(set(column), key=_natural)
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
            with np.load(place, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (ValueError, OSError) as error:
            raise DataError(f"data {place} is no npz file of plain arrays: {error}") from error
        if {"x_train", "x_test"} <= arrays.keys():
            train, test = (arrays["x_train"], arrays.get("y_train")), (arrays["x_test"], arrays.get("y_test"))
        elif "x" in arrays:
            x, y = arrays["x"], arrays.get("y")
            rows = held_out(np.zeros(len(x)) if y is None or self.regression else y, self.test_fraction)
            train, test = (x[~rows], None if y is None else y[~rows]), (x[rows], None if y is None else y[rows])
        else:
            raise DataError(f"data {place}: expected arrays x_train and x_test, or x; got {', '.join(arrays)}")
        return Data(*train, *test, name=place.stem, regression=self.regression)


@frozen(kw_only=True)
class ImageFolder:
    """Images in one folder a class; with folders ``train`` and ``test`` above them where the split is made.

    Args:
        path: of the folder, from the working directory or the data root.
        size: height and width that images are scaled to, in pixels; those of the first one by default.
        grey: whether colours are dropped.
        test_fraction: of each class, held out where there are no folders ``train`` and ``test``.
    """

    path: str = option(help="of the folder, from the working directory or the data root")
    size: tuple[int, int] | None = option(None, ge=1, help="height and width to scale to; the first image's by default")
    grey: bool = option(False, help="drop colours")
    test_fraction: float = option(0.2, gt=0, lt=1, help="of each class, where there are no train and test folders")

    def load(self) -> Data:
        place = find_data(self.path)
        if (place / "train").is_dir() and (place / "test").is_dir():
            names = _classes(place / "train")
            x, y = self._read(place / "train", names)
            x_test, y_test = self._read(place / "test", names, tuple(x.shape[2:]))
            return Data(x, y, x_test, y_test, name=place.name, class_names=names)
        names = _classes(place)
        x, y = self._read(place, names)
        test = held_out(y, self.test_fraction)
        return Data(x[~test], y[~test], x[test], y[test], name=place.name, class_names=names)

    def _read(
        self, folder: Path, names: Sequence[str], size: tuple[int, ...] | None = None
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        unknown = sorted(set(_classes(folder)) - set(names))
        if unknown:
            raise DataError(f"data {folder}: classes {', '.join(unknown)} are not in the training set")
        files = [(p, c) for c, name in enumerate(names) for p in _images(folder / name)]
        if not files:
            raise DataError(f"data {folder}: no images ({', '.join(IMAGES)}) in the folders of its classes")
        pixels = [self._pixels(path, self.size or size or None) for path, _ in files[:1]]
        size = pixels[0].shape[1:]
        pixels += [self._pixels(path, size) for path, _ in files[1:]]
        return np.stack(pixels), np.array([c for _, c in files])

    def _pixels(self, path: Path, size: tuple[int, ...] | None) -> np.ndarray[Any, Any]:
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as image:
                converted = image.convert("L" if self.grey else "RGB")
                if size is not None and converted.size != (size[1], size[0]):
                    converted = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
                array = np.asarray(converted, dtype=np.uint8)
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"data {path} is no image that can be read: {error}; remove or replace it") from error
        return array[None] if self.grey else np.ascontiguousarray(array.transpose(2, 0, 1))


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


def _natural(text: str) -> tuple[int, float, str]:
    """Numbers by value, before text."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)


def _classes(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir())) if folder.is_dir() else ()
    if not names:
        raise DataError(f"data {folder}: expected one folder a class, found none")
    return names


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGES) if folder.is_dir() else []
