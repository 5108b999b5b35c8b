"""Data sets by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from attrs import frozen

from rlcl.data.sources import Data
from rlcl.data.torchvision_import import torchvision_datasets
from rlcl.errors import DataError

__all__ = ["Digits", "Mnist", "data_root"]


def data_root() -> Path:
    """Where data sets lie: ``$RLCL_DATA``, else ``./data``."""
    return Path(os.environ.get("RLCL_DATA") or "data")


@frozen
class Digits:
    """Handwritten digits, 1,797 grey images of 8 x 8 in [0, 16]; ships with scikit-learn.

    The test set is every fifth image of each class (355 images), always the same ones.

    Source: Alpaydin & Kaynak 1998, UCI Optical Recognition of Handwritten Digits.
    """

    def load(self) -> Data:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        images = x.reshape(-1, 1, 8, 8).astype(np.float32)
        place_in_class = np.array([np.count_nonzero(y[:i] == y[i]) for i in range(len(y))])
        test = place_in_class % 5 == 4
        return Data(images[~test], y[~test], images[test], y[test], name="digits")


@frozen
class Mnist:
    """Handwritten digits, 60,000 + 10,000 grey images of 28 x 28, uint8; through torchvision.

    Read from ``MNIST/raw`` in the data root, else downloaded to there.

    Source: LeCun et al. 1998, Gradient-based learning applied to document recognition.
    """

    def load(self) -> Data:
        root = data_root()
        datasets, complete = torchvision_datasets(), _complete(root)
        try:
            train = datasets.MNIST(str(root), train=True, download=not complete)
            test = datasets.MNIST(str(root), train=False, download=False)
        except (RuntimeError, OSError, AssertionError, ValueError, LookupError) as error:
            raise DataError(_damaged(root) if complete else _missing(root, error)) from error
        return Data(train.data.unsqueeze(1), train.targets, test.data.unsqueeze(1), test.targets, name="mnist")


MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _complete(root: Path) -> bool:
    return all((root / "MNIST" / "raw" / name).is_file() for name in MNIST_FILES)


def _damaged(root: Path) -> str:
    place = (root / "MNIST" / "raw").resolve()
    return (
        f"data 'mnist': a file in {place} is damaged or cut short; remove {', '.join(MNIST_FILES)} and load them anew"
    )


def _missing(root: Path, error: Exception) -> str:
    place = (root / "MNIST" / "raw").resolve()
    origin = "$RLCL_DATA" if os.environ.get("RLCL_DATA") else "RLCL_DATA is not set, so ./data"
    reason = str(error).strip().splitlines()[-1]
    return (
        f"data 'mnist' is not complete in {place} ({origin}) and could not be downloaded ({reason}); "
        f"put {', '.join(MNIST_FILES)} there, or set RLCL_DATA to the folder that holds MNIST/raw"
    )
