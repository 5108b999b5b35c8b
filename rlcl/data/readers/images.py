"""Data sets in the user's folders of images."""

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
from rlcl.data.cells import natural_key
from rlcl.data.expect import Expectation
from rlcl.data.readers.files import check_test_rows, held_out_mask
from rlcl.data.root import find_data
from rlcl.data.sources import Data
from rlcl.data.storage import Storage, should_stream
from rlcl.errors import DataError
from rlcl.types import DataSet

__all__ = ["ImageFolder", "ImageRows"]

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")
TRAIN, TEST, VALIDATION = ("train", "training"), ("test", "testing"), ("val", "valid", "validation", "dev")
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # files that file managers create, besides hidden ones


@frozen(kw_only=True)
class ImageFolder(DataSet):
    """Folder of images with one subfolder per class, or with subfolders ``train`` and ``test`` (or ``val``) of them.

    Images are rotated according to their EXIF data. Files with other suffixes, and folders that do not belong to the
    split, are ignored with a warning.

    Args:
        path: path of the folder, relative to the working directory or the data root.
        size: height and width to which images are scaled, in pixels; by default those of the first image.
        grey: whether images are converted to greyscale.
        test_fraction: share of each class held out as test set if the folder has no split.
        storage: ``memory``, ``stream`` (decoded on demand), or ``auto``, which is ``stream`` if the images would take
            more than half of the free memory.
        workers: number of additional processes that decode streamed images.
        expect: expected properties of the data, checked on loading.
    """

    path: str = option()
    size: tuple[int, int] | None = option(None, ge=1)
    grey: bool = option(False)
    test_fraction: float = option(0.2, gt=0, lt=1)
    storage: Storage = option("auto")
    workers: int = option(2, ge=0)
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        folder = find_data(self.path)
        split = _split_folders(folder)
        if split is not None:
            names = _class_names(split[0])
            files, y = _labelled_files(split[0], names)
            test_files, y_test = _labelled_files(split[1], names)
        else:
            names = _class_names(folder)
            all_files, labels = _labelled_files(folder, names)
            is_test = held_out_mask(labels, self.test_fraction)
            files, y = [f for f, t in zip(all_files, is_test, strict=True) if not t], labels[~is_test]
            test_files, y_test = [f for f, t in zip(all_files, is_test, strict=True) if t], labels[is_test]
        size = self.size or read_image(files[0], None, self.grey).shape[1:]
        if split is None:
            remedy = "move the class folders into folders train and test"
            check_test_rows(folder, is_test, labels, self.test_fraction, remedy)
        train, test = (ImageRows(tuple(f), (size[0], size[1]), self.grey, self.workers) for f in (files, test_files))
        if should_stream(folder.name, self.storage, (len(train) + len(test)) * train.shape[1:].numel(), 1):
            return Data(train, y, test, y_test, name=folder.name, class_names=names)
        return Data(train.read(), y, test.read(), y_test, name=folder.name, class_names=names)


@frozen(eq=False)
class ImageRows:
    """Rows of images that are decoded on demand.

    Args:
        files: paths of the image files, one per row.
        size: height and width to which images are scaled, in pixels.
        grey: whether images are converted to greyscale.
        workers: number of processes that read minibatches.
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
        """Names and sizes of the files."""
        return "\n".join(f"{path.name} {path.stat().st_size}" for path in self.files)

    def __len__(self) -> int:
        return len(self.files)

    def read(self) -> Tensor:
        """Read all images, (N, channels, height, width) uint8."""
        return self.index_select(0, torch.arange(len(self)))

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Read images, given by row indices (B,) int64, to (B, channels, height, width) uint8."""
        images = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        for index, row in enumerate(rows.tolist()):
            images[index] = torch.from_numpy(read_image(self.files[row], self.size, self.grey))
        return images


def read_image(path: Path, size: tuple[int, int] | None, grey: bool) -> np.ndarray[Any, Any]:
    """Read an image file to (channels, height, width) uint8.

    Args:
        path: path of the file.
        size: height and width to which the image is scaled, in pixels; None for its own size.
        grey: whether the image is converted to greyscale.

    Raises:
        DataError: the file is no image.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError(
                    f"data {path}: expected an image with 8 bits per channel, got mode {image.mode}; convert it"
                )
            converted = ImageOps.exif_transpose(image).convert("L" if grey else "RGB")
            if size is not None and converted.size != (size[1], size[0]):
                converted = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            array = np.array(converted, dtype=np.uint8)
    except DataError:
        raise
    except Exception as error:  # decoders have no common error class
        reason = str(error) or type(error).__name__
        raise DataError(f"data {path} cannot be read as an image: {reason}; remove or replace it") from error
    return array[None] if grey else np.ascontiguousarray(array.transpose(2, 0, 1))


def _split_folders(folder: Path) -> tuple[Path, Path] | None:
    """Return the training folder and the test folder, or None if the subfolders are classes.

    A class may have the name ``valid`` or ``train``. Therefore subfolders named like a part of a split count as a split
    only if they contain folders themselves, or if there are both training and test folders.

    Raises:
        DataError: a part of the split is missing, or there are several folders for one part.
    """
    folders = _subfolders(folder)
    parts = {names: [f for f in folders if f.name.casefold() in names] for names in (TRAIN, TEST, VALIDATION)}
    train, test, validation = parts.values()
    candidates = [*train, *test, *validation]
    held_out = test or validation
    if not (train and held_out) and not any(_subfolders(candidate) for candidate in candidates):
        return None
    if len(train) != 1 or len(held_out) != 1:
        names = ", ".join(candidate.name for candidate in candidates)
        remedy = f"; or set path to {train[0]}, of which test_fraction is held out" if len(train) == 1 else ""
        raise DataError(
            f"data {folder}: the folders {names} look like a split; expected one of {', '.join(TRAIN)} and one of "
            f"{', '.join((*TEST, *VALIDATION))} (in upper or lower case), each with one folder per class{remedy}"
        )
    if others := [f.name for f in folders if f not in (train[0], held_out[0])]:
        warnings.warn(f"data {folder}: the folders {', '.join(sorted(others))} are ignored", stacklevel=2)
    return train[0], held_out[0]


def _labelled_files(folder: Path, names: Sequence[str]) -> tuple[list[Path], np.ndarray[Any, Any]]:
    unknown = sorted(set(_class_names(folder)) - set(names))
    if unknown:
        raise DataError(
            f"data {folder}: classes {', '.join(unknown)} are not in the training set; remove them or add training "
            "images"
        )
    images_by_class = [_images(folder / name) for name in names]
    pairs = zip(names, images_by_class, strict=True)
    empty = [name for name, images in pairs if not images and (folder / name).is_dir()]
    if empty or not any(images_by_class):
        raise DataError(
            f"data {folder}: no images ({', '.join(IMAGES)}) in {', '.join(empty) or 'it'}; add some, or remove the "
            "folder"
        )
    _warn_about_ignored_files(folder, names)
    files = [(path, c) for c, images in enumerate(images_by_class) for path in images]
    return [path for path, _ in files], np.array([c for _, c in files])


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted((f.name for f in _subfolders(folder)), key=natural_key))
    if not names:
        raise DataError(f"data {folder}: expected one folder per class, found none")
    return names


def _subfolders(folder: Path) -> list[Path]:
    folders = [p for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []
    return [subfolder for subfolder in folders if not subfolder.name.startswith((".", "__"))]


def _warn_about_ignored_files(folder: Path, names: Sequence[str]) -> None:
    """Warn about files whose suffix is not that of an image, and about images outside the folders of classes."""
    files = [p for name in names for p in (folder / name).rglob("*") if p.is_file()]
    suffixes = Counter(
        p.suffix.lower() or "without suffix" for p in files if p.suffix.lower() not in IMAGES and _is_user_file(p)
    )
    if suffixes:
        counts = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common())
        warnings.warn(
            f"data {folder}: {sum(suffixes.values()):,} files are ignored because their suffix is none of "
            f"{', '.join(IMAGES)}: {counts}",
            stacklevel=3,
        )
    if outside := sum(p.suffix.lower() in IMAGES and _is_user_file(p) for p in folder.iterdir() if p.is_file()):
        warnings.warn(f"data {folder}: {outside:,} images are ignored because no class folder has them", stacklevel=3)


def _is_user_file(path: Path) -> bool:
    return not path.name.startswith(".") and path.name.casefold() not in SYSTEM_FILES


def _images(folder: Path) -> list[Path]:
    """Return the images in a folder and its subfolders, without hidden files of macOS."""
    files = folder.rglob("*") if folder.is_dir() else ()
    return sorted(p for p in files if p.suffix.lower() in IMAGES and p.is_file() and not p.name.startswith("._"))
