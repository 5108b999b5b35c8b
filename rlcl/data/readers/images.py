"""Folders of images of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.expect import Expectation
from rlcl.data.readers.files import held_out, natural
from rlcl.data.root import find_data
from rlcl.data.sources import Data
from rlcl.data.storage import Storage, streams
from rlcl.errors import DataError
from rlcl.types import DataSet

__all__ = ["ImageFolder", "ImageRows"]

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")


@frozen(kw_only=True)
class ImageFolder(DataSet):
    """Images in one folder a class; with folders ``train`` and ``test`` above them where the split is made.

    Args:
        path: of the folder, from the working directory or the data root.
        size: height and width that images are scaled to, in pixels; those of the first one by default.
        grey: whether colours are dropped.
        test_fraction: of each class, held out where there are no folders ``train`` and ``test``.
        storage: ``memory``, ``stream`` (decoded as they are needed), or ``auto``: a stream where they
            would take more than half of the memory that is free.
        workers: processes that decode a stream; 0 for none beside the run's own.
        expect: what the data must be, checked when they are loaded.
    """

    path: str = option()
    size: tuple[int, int] | None = option(None, ge=1)
    grey: bool = option(False)
    test_fraction: float = option(0.2, gt=0, lt=1)
    storage: Storage = option("auto")
    workers: int = option(2, ge=0)
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        place = find_data(self.path)
        if (place / "train").is_dir() and (place / "test").is_dir():
            names = _classes(place / "train")
            files, y = _labelled_files(place / "train", names)
            test_files, y_test = _labelled_files(place / "test", names)
        else:
            names = _classes(place)
            found, labels = _labelled_files(place, names)
            test = held_out(labels, self.test_fraction)
            files, y = [f for f, t in zip(found, test, strict=True) if not t], labels[~test]
            test_files, y_test = [f for f, t in zip(found, test, strict=True) if t], labels[test]
        size = self.size or pixels(files[0], None, self.grey).shape[1:]
        train, tested = (ImageRows(tuple(f), (size[0], size[1]), self.grey, self.workers) for f in (files, test_files))
        if streams(place.name, self.storage, (len(train) + len(tested)) * train.shape[1:].numel(), 1):
            return Data(train, y, tested, y_test, name=place.name, class_names=names)
        return Data(train.read(), y, tested.read(), y_test, name=place.name, class_names=names)


@frozen(eq=False)
class ImageRows:
    """Image files, decoded when they are asked for.

    Args:
        files: one a row.
        size: height and width that they are scaled to, in pixels.
        grey: whether colours are dropped.
        workers: processes that read minibatches of them.
    """

    files: tuple[Path, ...]
    size: tuple[int, int]
    grey: bool = False
    workers: int = 2
    dtype = torch.uint8

    @property
    def shape(self) -> torch.Size:
        """(N, channels, height, width)."""
        return torch.Size((len(self.files), 1 if self.grey else 3, *self.size))

    @property
    def identity(self) -> str:
        return "\n".join(f"{path.name} {path.stat().st_size}" for path in self.files)

    def __len__(self) -> int:
        return len(self.files)

    def read(self) -> Tensor:
        """All of them, (N, channels, height, width) uint8."""
        return self.index_select(0, torch.arange(len(self)))

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """(B, channels, height, width) uint8 of rows (B,) int64."""
        decoded = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        for place, row in enumerate(rows.tolist()):
            decoded[place] = torch.from_numpy(pixels(self.files[row], self.size, self.grey))
        return decoded


def pixels(path: Path, size: tuple[int, int] | None, grey: bool) -> np.ndarray[Any, Any]:
    """(channels, height, width) uint8 of an image file, scaled to a size.

    Raises:
        DataError: it is no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError(f"data {path}: its pixels are {image.mode}, not 8 bits a channel; convert it first")
            converted = image.convert("L" if grey else "RGB")
            if size is not None and converted.size != (size[1], size[0]):
                converted = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            array = np.array(converted, dtype=np.uint8)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged file makes of its reader
        raise DataError(f"data {path} is no image that can be read: {error}; remove or replace it") from error
    return array[None] if grey else np.ascontiguousarray(array.transpose(2, 0, 1))


def _labelled_files(folder: Path, names: Sequence[str]) -> tuple[list[Path], np.ndarray[Any, Any]]:
    unknown = sorted(set(_classes(folder)) - set(names))
    if unknown:
        raise DataError(f"data {folder}: classes {', '.join(unknown)} are not in the training set")
    found = [_images(folder / name) for name in names]
    empty = [name for name, images in zip(names, found, strict=True) if not images and (folder / name).is_dir()]
    if empty or not any(found):
        raise DataError(
            f"data {folder}: no images ({', '.join(IMAGES)}) in {', '.join(empty) or 'it'}; add some, or remove the "
            "folder"
        )
    files = [(path, c) for c, images in enumerate(found) for path in images]
    return [path for path, _ in files], np.array([c for _, c in files])


def _classes(folder: Path) -> tuple[str, ...]:
    folders = [p.name for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []
    names = tuple(sorted((n for n in folders if not n.startswith((".", "__"))), key=natural))
    if not names:
        raise DataError(f"data {folder}: expected one folder a class, found none")
    return names


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGES) if folder.is_dir() else []
