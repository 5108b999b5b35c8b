"""Folders of images of one's own."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.cells import natural
from rlcl.data.expect import Expectation
from rlcl.data.readers.files import check_tested, held_out
from rlcl.data.root import find_data
from rlcl.data.sources import Data
from rlcl.data.storage import Storage, streams
from rlcl.errors import DataError
from rlcl.types import DataSet

__all__ = ["ImageFolder", "ImageRows"]

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")
TRAIN, TEST, VALIDATION = ("train", "training"), ("test", "testing"), ("val", "valid", "validation", "dev")
RUBBISH = ("thumbs.db", "desktop.ini")  # that file managers leave, beside what begins with a point


@frozen(kw_only=True)
class ImageFolder(DataSet):
    """Images in one folder a class, below folders ``train`` and ``test`` (or ``val``) where a split is made.

    They are turned as their EXIF data say. Files of other suffixes, and folders beside those of a split, are left out
    with a warning.

    Args:
        path: of the folder, from the working directory or the data root.
        size: height and width that images are scaled to, in pixels; those of the first one by default.
        grey: whether colours are dropped.
        test_fraction: of each class, held out where the folders are those of classes.
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
        split = _split(place)
        if split is not None:
            names = _classes(split[0])
            files, y = _labelled_files(split[0], names)
            test_files, y_test = _labelled_files(split[1], names)
        else:
            names = _classes(place)
            found, labels = _labelled_files(place, names)
            test = held_out(labels, self.test_fraction)
            files, y = [f for f, t in zip(found, test, strict=True) if not t], labels[~test]
            test_files, y_test = [f for f, t in zip(found, test, strict=True) if t], labels[test]
        size = self.size or pixels(files[0], None, self.grey).shape[1:]
        if split is None:
            check_tested(place, test, labels, self.test_fraction, "make folders train and test of the classes")
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
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError(f"data {path}: its pixels are {image.mode}, not 8 bits a channel; convert it first")
            converted = ImageOps.exif_transpose(image).convert("L" if grey else "RGB")
            if size is not None and converted.size != (size[1], size[0]):
                converted = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            array = np.array(converted, dtype=np.uint8)
    except DataError:
        raise
    except Exception as error:  # decoders have no common class of their errors
        reason = str(error) or type(error).__name__
        raise DataError(f"data {path} is no image that can be read: {reason}; remove or replace it") from error
    return array[None] if grey else np.ascontiguousarray(array.transpose(2, 0, 1))


def _split(place: Path) -> tuple[Path, Path] | None:
    """The folders to learn from and to test on; None where folders are those of classes.

    Folders that are named like parts of a split are one where they hold folders themselves, or where there are some to
    learn from and some to test on: there may be a class called ``valid`` or ``train``.

    Raises:
        DataError: there is one of them alone, or several of a kind.
    """
    folders = _folders(place)
    parts = {kind: [f for f in folders if f.name.casefold() in kind] for kind in (TRAIN, TEST, VALIDATION)}
    train, test, validation = parts.values()
    named = [*train, *test, *validation]
    judged = test or validation
    if not (train and judged) and not any(_folders(folder) for folder in named):
        return None
    if len(train) != 1 or len(judged) != 1:
        found = ", ".join(folder.name for folder in named)
        remedy = f"; or name {train[0]} as the path, of which test_fraction is held out" if len(train) == 1 else ""
        raise DataError(
            f"data {place}: the folders {found} look like a split; expected one of {', '.join(TRAIN)} and one of "
            f"{', '.join((*TEST, *VALIDATION))} (in any case), each with one folder a class{remedy}"
        )
    if others := [f.name for f in folders if f not in (train[0], judged[0])]:
        warnings.warn(f"data {place}: the folders {', '.join(sorted(others))} are left out", stacklevel=2)
    return train[0], judged[0]


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
    _tell_left_out(folder, names)
    files = [(path, c) for c, images in enumerate(found) for path in images]
    return [path for path, _ in files], np.array([c for _, c in files])


def _classes(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted((f.name for f in _folders(folder)), key=natural))
    if not names:
        raise DataError(f"data {folder}: expected one folder a class, found none")
    return names


def _folders(place: Path) -> list[Path]:
    found = [p for p in place.iterdir() if p.is_dir()] if place.is_dir() else []
    return [folder for folder in found if not folder.name.startswith((".", "__"))]


def _tell_left_out(folder: Path, names: Sequence[str]) -> None:
    """Warns of files that are no images by their suffix, and of images that are in no class's folder."""
    files = [p for name in names for p in (folder / name).rglob("*") if p.is_file()]
    kinds = Counter(p.suffix.lower() or "without one" for p in files if p.suffix.lower() not in IMAGES and _counts(p))
    if kinds:
        told = ", ".join(f"{count:,} {suffix}" for suffix, count in kinds.most_common())
        warnings.warn(
            f"data {folder}: {sum(kinds.values()):,} files are left out, whose suffix is none of {', '.join(IMAGES)}: "
            f"{told}",
            stacklevel=3,
        )
    if loose := sum(p.suffix.lower() in IMAGES and _counts(p) for p in folder.iterdir() if p.is_file()):
        warnings.warn(f"data {folder}: {loose:,} images are left out, which are in no class's folder", stacklevel=3)


def _counts(path: Path) -> bool:
    return not path.name.startswith(".") and path.name.casefold() not in RUBBISH


def _images(folder: Path) -> list[Path]:
    """Images below a folder, without those that the system hides."""
    found = folder.rglob("*") if folder.is_dir() else ()
    return sorted(p for p in found if p.suffix.lower() in IMAGES and p.is_file() and not p.name.startswith("._"))
