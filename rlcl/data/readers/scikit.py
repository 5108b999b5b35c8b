"""Small data sets that ship with scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from rlcl.config import option
from rlcl.data.expect import Expectation
from rlcl.data.readers.files import held_out
from rlcl.data.sources import Data
from rlcl.types import DataSet

__all__ = ["BreastCancer", "Diabetes", "Digits", "Iris", "Wine"]

TEST_FRACTION = 0.2


@frozen(kw_only=True)
class Digits(DataSet):
    """Handwritten digits, 1,797 grey images of 8 x 8 in [0, 16].

    The test set is every fifth image of each class (355 images), always the same ones.

    Args:
        expect: what the data must be, checked when they are loaded.

    Source: Alpaydin & Kaynak 1998, UCI Optical Recognition of Handwritten Digits.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return _split("digits", x.reshape(-1, 1, 8, 8), y)


@frozen(kw_only=True)
class Iris(DataSet):
    """150 flowers of 3 kinds by 4 measurements, in cm.

    Args:
        expect: what the data must be, checked when they are loaded.

    Source: Fisher 1936, The use of multiple measurements in taxonomic problems.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        from sklearn.datasets import load_iris

        found = load_iris()
        return _split("iris", found.data, found.target, tuple(map(str, found.target_names)))


@frozen(kw_only=True)
class Wine(DataSet):
    """178 wines of 3 growers by 13 chemical measurements.

    Args:
        expect: what the data must be, checked when they are loaded.

    Source: Aeberhard & Forina 1992, UCI Wine.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        from sklearn.datasets import load_wine

        found = load_wine()
        return _split("wine", found.data, found.target)


@frozen(kw_only=True)
class BreastCancer(DataSet):
    """569 tumours, malignant or benign, by 30 measurements.

    Args:
        expect: what the data must be, checked when they are loaded.

    Source: Wolberg et al. 1993, UCI Breast Cancer Wisconsin (Diagnostic).
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        from sklearn.datasets import load_breast_cancer

        found = load_breast_cancer()
        return _split("breast_cancer", found.data, found.target, tuple(map(str, found.target_names)))


@frozen(kw_only=True)
class Diabetes(DataSet):
    """442 patients by 10 standardised measurements; the target is the disease's progression (regression).

    Args:
        expect: what the data must be, checked when they are loaded.

    Source: Efron et al. 2004, Least angle regression.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        from sklearn.datasets import load_diabetes

        x, y = load_diabetes(return_X_y=True)
        test = held_out(np.zeros(len(y)), TEST_FRACTION)
        return Data(x[~test], y[~test], x[test], y[test], name="diabetes", regression=True)


def _split(name: str, x: Any, y: Any, names: tuple[str, ...] = ()) -> Data:
    test = held_out(y, TEST_FRACTION)
    return Data(x[~test], y[~test], x[test], y[test], name=name, class_names=names)
