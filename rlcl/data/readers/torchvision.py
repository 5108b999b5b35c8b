"""Image data sets through torchvision: read from the data root, else downloaded to there."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import frozen

from rlcl.config import option
from rlcl.data.expect import Expectation
from rlcl.data.root import data_root, root_origin
from rlcl.data.sources import Data
from rlcl.data.torchvision_import import torchvision_datasets
from rlcl.errors import DataError
from rlcl.types import DataSet

__all__ = ["Cifar10", "Cifar100", "Emnist", "FashionMnist", "Kmnist", "Mnist", "Svhn"]

Array = np.ndarray[Any, Any]
Halves = tuple[Any, Any, Any, Any]  # training inputs and labels, test inputs and labels

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@frozen(kw_only=True)
class Mnist(DataSet):
    """Handwritten digits, 60,000 + 10,000 grey images of 28 x 28, uint8.

    Args:
        expect: what the data must be, checked when they are loaded.

    Source: LeCun et al. 1998, Gradient-based learning applied to document recognition.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        return _idx("mnist", "MNIST", IDX_FILES)


@frozen(kw_only=True)
class FashionMnist(DataSet):
    """Pictures of clothes in ten classes, 60,000 + 10,000 grey images of 28 x 28, uint8.

    Args:
        expect: what the data must be, checked when they are loaded.

    Source: Xiao et al. 2017, Fashion-MNIST.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        return _idx("fashion_mnist", "FashionMNIST", IDX_FILES)


@frozen(kw_only=True)
class Kmnist(DataSet):
    """Cursive Japanese characters in ten classes, 60,000 + 10,000 grey images of 28 x 28, uint8.

    Args:
        expect: what the data must be, checked when they are loaded.

    Source: Clanuwat et al. 2018, Deep learning for classical Japanese literature.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        return _idx("kmnist", "KMNIST", IDX_FILES)


@frozen(kw_only=True)
class Emnist(DataSet):
    """Handwritten letters and digits, upright grey images of 28 x 28, uint8; classes from 0.

    Args:
        split: ``letters`` (26 classes), ``balanced`` (47), ``digits`` (10), ``byclass`` (62) or ``bymerge`` (47).
        expect: what the data must be, checked when they are loaded.

    Source: Cohen et al. 2017, EMNIST.
    """

    split: Literal["balanced", "letters", "digits", "byclass", "bymerge"] = option("balanced")
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
        files = [f"emnist-{self.split}-{part}-{kind}" for part in ("train", "test") for kind in kinds]
        data = _idx(f"emnist_{self.split}", "EMNIST", files, split=self.split)
        # The files hold images on their side, and letters that are numbered from 1.
        first = 1 if self.split == "letters" else 0
        assert data.train_labels is not None
        assert data.test_labels is not None
        return Data(
            data.train.read()[0].transpose(2, 3),
            data.train_labels - first,
            data.test.read()[0].transpose(2, 3),
            data.test_labels - first,
            name=data.name,
        )


@frozen(kw_only=True)
class Svhn(DataSet):
    """House numbers, 73,257 + 26,032 colour images of 32 x 32 in ten classes, uint8.

    Args:
        expect: what the data must be, checked when they are loaded.

    Source: Netzer et al. 2011, Reading digits in natural images.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        def download(datasets: Any, root: str) -> None:
            for split in ("train", "test"):
                datasets.SVHN(root, split=split, download=True)

        def read(folder: Path) -> Halves:
            from scipy.io import loadmat

            train, test = (loadmat(str(folder / f"{split}_32x32.mat")) for split in ("train", "test"))
            # (H, W, C, N) in the file, where 10 stands for the digit 0.
            halves = [(half["X"].transpose(3, 2, 0, 1), half["y"].ravel() % 10) for half in (train, test)]
            return (*halves[0], *halves[1])

        return _files("svhn", ".", ("train_32x32.mat", "test_32x32.mat"), download, read)


@frozen(kw_only=True)
class Cifar10(DataSet):
    """Photographs in ten classes, 50,000 + 10,000 colour images of 32 x 32, uint8.

    Args:
        expect: what the data must be, checked when they are loaded.

    Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        train = [f"data_batch_{i}" for i in range(1, 6)]
        return _cifar("cifar10", "CIFAR10", "cifar-10-batches-py", train, ["test_batch"], "labels")


@frozen(kw_only=True)
class Cifar100(DataSet):
    """Photographs in a hundred classes, 50,000 + 10,000 colour images of 32 x 32, uint8.

    Args:
        expect: what the data must be, checked when they are loaded.

    Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        return _cifar("cifar100", "CIFAR100", "cifar-100-python", ["train"], ["test"], "fine_labels")


def _idx(name: str, torchvision_name: str, files: Sequence[str], **options: Any) -> Data:
    """The family of MNIST: torchvision reads the plain IDX files."""

    def make(datasets: Any, root: str, train: bool, download: bool) -> Any:
        return getattr(datasets, torchvision_name)(root, train=train, download=download, **options)

    def read(folder: Path) -> Halves:
        train, test = (make(torchvision_datasets(), str(data_root()), half, False) for half in (True, False))
        return train.data.unsqueeze(1), train.targets, test.data.unsqueeze(1), test.targets

    return _files(name, f"{torchvision_name}/raw", files, lambda d, root: make(d, root, True, True), read)


def _cifar(name: str, torchvision_name: str, folder: str, train: list[str], test: list[str], labels: str) -> Data:
    def download(datasets: Any, root: str) -> None:
        getattr(datasets, torchvision_name)(root, download=True)

    def read(place: Path) -> Halves:
        halves: list[Any] = []
        for files in (train, test):
            batches = [_Arrays(io.BytesIO((place / file).read_bytes()), encoding="latin1").load() for file in files]
            halves.append(np.concatenate([b["data"] for b in batches]).reshape(-1, 3, 32, 32))
            halves.append(np.concatenate([b[labels] for b in batches]))
        return (halves[0], halves[1], halves[2], halves[3])

    return _files(name, folder, [*train, *test], download, read)


class _Arrays(pickle.Unpickler):
    """Reads the pickles that CIFAR is published as, and lets them name nothing but plain arrays."""

    ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which plain arrays do not")
        return super().find_class(module, name)


def _files(
    name: str,
    folder: str,
    files: Sequence[str],
    download: Callable[[Any, str], None],
    read: Callable[[Path], Halves],
) -> Data:
    """Downloads what is missing, then reads.

    Args:
        name: of the data set.
        folder: in the data root.
        files: that must be there.
        download: from torchvision's data sets and the data root; shows a progress bar.
        read: from the folder to the arrays.

    Raises:
        DataError: files that are missing and cannot be downloaded, or damaged ones.
    """
    place = data_root() / folder
    if not all((place / file).is_file() for file in files):
        try:
            download(torchvision_datasets(), str(data_root()))
        except (RuntimeError, OSError) as error:
            raise DataError(_missing(name, place, files, error)) from error
    try:
        return Data(*read(place), name=name)
    except DataError:
        raise
    except Exception as error:  # what a damaged file makes of its reader
        raise DataError(
            f"data {name!r}: a file in {place.resolve()} is damaged or cut short ({error}); remove "
            f"{', '.join(files)} and load them anew"
        ) from error


def _missing(name: str, place: Path, files: Sequence[str], error: Exception) -> str:
    reason = str(error).strip().splitlines()[-1]
    return (
        f"data {name!r} is not complete in {place.resolve()} ({root_origin()}) and could not be downloaded ({reason}); "
        f"put {', '.join(files)} there, or set RLCL_DATA to the folder that holds {place.relative_to(data_root())}"
    )
