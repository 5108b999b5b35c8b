"""Image data sets of torchvision, read from the data root and downloaded to it if missing."""

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
Splits = tuple[Any, Any, Any, Any]  # training inputs and labels, test inputs and labels

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@frozen(kw_only=True)
class Mnist(DataSet):
    """Handwritten digits: 60,000 training and 10,000 test grey images of 28 x 28, uint8.

    Args:
        expect: expected properties of the data, checked on loading.

    Source: LeCun et al. 1998, Gradient-based learning applied to document recognition.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        return _idx("mnist", "MNIST", IDX_FILES)


@frozen(kw_only=True)
class FashionMnist(DataSet):
    """Clothing in 10 classes: 60,000 training and 10,000 test grey images of 28 x 28, uint8.

    Args:
        expect: expected properties of the data, checked on loading.

    Source: Xiao et al. 2017, Fashion-MNIST.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        return _idx("fashion_mnist", "FashionMNIST", IDX_FILES)


@frozen(kw_only=True)
class Kmnist(DataSet):
    """Cursive Japanese characters in 10 classes: 60,000 training and 10,000 test grey images of 28 x 28, uint8.

    Args:
        expect: expected properties of the data, checked on loading.

    Source: Clanuwat et al. 2018, Deep learning for classical Japanese literature.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        return _idx("kmnist", "KMNIST", IDX_FILES)


@frozen(kw_only=True)
class Emnist(DataSet):
    """Handwritten letters and digits: upright grey images of 28 x 28, uint8; classes from 0.

    Args:
        split: ``letters`` (26 classes), ``balanced`` (47), ``digits`` (10), ``byclass`` (62) or ``bymerge`` (47).
        expect: expected properties of the data, checked on loading.

    Source: Cohen et al. 2017, EMNIST.
    """

    split: Literal["balanced", "letters", "digits", "byclass", "bymerge"] = option("balanced")
    expect: Expectation | None = option(None)

    def load(self) -> Data:
        kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
        files = [f"emnist-{self.split}-{part}-{kind}" for part in ("train", "test") for kind in kinds]
        data = _idx(f"emnist_{self.split}", "EMNIST", files, split=self.split)
        # The images in the files are transposed, and letters are numbered from 1.
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
    """House numbers in 10 classes: 73,257 training and 26,032 test colour images of 32 x 32, uint8.

    Args:
        expect: expected properties of the data, checked on loading.

    Source: Netzer et al. 2011, Reading digits in natural images.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        def download(datasets: Any, root: str) -> None:
            for split in ("train", "test"):
                datasets.SVHN(root, split=split, download=True)

        def read(folder: Path) -> Splits:
            from scipy.io import loadmat

            train, test = (loadmat(str(folder / f"{split}_32x32.mat")) for split in ("train", "test"))
            # The shape in the file is (H, W, C, N), and the label of the digit 0 is 10.
            pairs = [(split["X"].transpose(3, 2, 0, 1), split["y"].ravel() % 10) for split in (train, test)]
            return (*pairs[0], *pairs[1])

        return _load_files("svhn", ".", ("train_32x32.mat", "test_32x32.mat"), download, read)


@frozen(kw_only=True)
class Cifar10(DataSet):
    """Photographs in 10 classes: 50,000 training and 10,000 test colour images of 32 x 32, uint8.

    Args:
        expect: expected properties of the data, checked on loading.

    Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        train = [f"data_batch_{i}" for i in range(1, 6)]
        return _cifar("cifar10", "CIFAR10", "cifar-10-batches-py", train, ["test_batch"], "labels")


@frozen(kw_only=True)
class Cifar100(DataSet):
    """Photographs in 100 classes: 50,000 training and 10,000 test colour images of 32 x 32, uint8.

    Args:
        expect: expected properties of the data, checked on loading.

    Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        return _cifar("cifar100", "CIFAR100", "cifar-100-python", ["train"], ["test"], "fine_labels")


def _idx(name: str, torchvision_name: str, files: Sequence[str], **options: Any) -> Data:
    """Load a data set of the MNIST family, whose IDX files torchvision reads."""

    def open_split(datasets: Any, root: str, train: bool, download: bool) -> Any:
        return getattr(datasets, torchvision_name)(root, train=train, download=download, **options)

    def read(folder: Path) -> Splits:
        train, test = (open_split(torchvision_datasets(), str(data_root()), part, False) for part in (True, False))
        return train.data.unsqueeze(1), train.targets, test.data.unsqueeze(1), test.targets

    def download(datasets: Any, root: str) -> None:
        open_split(datasets, root, True, True)

    return _load_files(name, f"{torchvision_name}/raw", files, download, read)


def _cifar(name: str, torchvision_name: str, folder: str, train: list[str], test: list[str], labels: str) -> Data:
    def download(datasets: Any, root: str) -> None:
        getattr(datasets, torchvision_name)(root, download=True)

    def read(path: Path) -> Splits:
        arrays: list[Any] = []
        for files in (train, test):
            unpicklers = [_ArrayUnpickler(io.BytesIO((path / file).read_bytes()), encoding="latin1") for file in files]
            batches = [unpickler.load() for unpickler in unpicklers]
            arrays.append(np.concatenate([b["data"] for b in batches]).reshape(-1, 3, 32, 32))
            arrays.append(np.concatenate([b[labels] for b in batches]))
        return (arrays[0], arrays[1], arrays[2], arrays[3])

    return _load_files(name, folder, [*train, *test], download, read)


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler for the files of CIFAR that allows only plain arrays."""

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
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which plain arrays do not contain")
        return super().find_class(module, name)


def _load_files(
    name: str,
    folder: str,
    files: Sequence[str],
    download: Callable[[Any, str], None],
    read: Callable[[Path], Splits],
) -> Data:
    """Read the files of a data set, and download them first if some are missing.

    Args:
        name: name of the data set.
        folder: folder of the files in the data root.
        files: names of the files.
        download: function of torchvision's module of data sets and the data root; shows a progress bar.
        read: function from the folder to the arrays.

    Raises:
        DataError: files are missing and cannot be downloaded, or a file is damaged.
    """
    path = data_root() / folder
    if not all((path / file).is_file() for file in files):
        try:
            download(torchvision_datasets(), str(data_root()))
        except (RuntimeError, OSError) as error:
            raise DataError(_missing_files_message(name, path, files, error)) from error
    try:
        return Data(*read(path), name=name)
    except DataError:
        raise
    except Exception as error:  # a damaged file can raise any error in the reader
        raise DataError(
            f"data {name!r}: a file in {path.resolve()} is damaged or truncated ({error}); remove "
            f"{', '.join(files)} and load them again"
        ) from error


def _missing_files_message(name: str, path: Path, files: Sequence[str], error: Exception) -> str:
    reason = str(error).strip().splitlines()[-1]
    return (
        f"data {name!r} is not complete in {path.resolve()} ({root_origin()}) and could not be downloaded ({reason}); "
        f"copy {', '.join(files)} there, or set RLCL_DATA to the folder that contains {path.relative_to(data_root())}"
    )
