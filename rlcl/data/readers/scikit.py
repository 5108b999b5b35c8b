"""Small data sets included in scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from rlcl.config import option
from rlcl.data.expect import Expectation
from rlcl.data.readers.files import held_out_mask
from rlcl.data.sources import Data
from rlcl.types import DataSet

__all__ = ["BreastCancer", "Diabetes", "Digits", "Iris", "Wine"]

TEST_FRACTION = 0.2


@frozen(kw_only=True)
class Digits(DataSet):
    """Handwritten digits: 1,797 grey images of 8 x 8 pixels, values in [0, 16].

    The test set is every fifth image of each class (355 images), the same ones in every run.

    Args:
        expect: expected properties of the data, checked on loading.

    Source: Alpaydin & Kaynak 1998, UCI Optical Recognition of Handwritten Digits.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return _split("digits", x.reshape(-1, 1, 8, 8), y)


@frozen(kw_only=True)
class Iris(DataSet):
    """Iris flowers: 150 samples of 3 species with 4 measurements, in cm.

    Args:
        expect: expected properties of the data, checked on loading.

    Source: Fisher 1936, The use of multiple measurements in taxonomic problems.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        from sklearn.datasets import load_iris

        bunch = load_iris()
        return _split("iris", bunch.data, bunch.target, tuple(map(str, bunch.target_names)))


@frozen(kw_only=True)
class Wine(DataSet):
    """Wines: 178 samples of 3 cultivars with 13 chemical measurements.

    Args:
        expect: expected properties of the data, checked on loading.

    Source: Aeberhard & Forina 1992, UCI Wine.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        from sklearn.datasets import load_wine

        bunch = load_wine()
        return _split("wine", bunch.data, bunch.target)


@frozen(kw_only=True)
class BreastCancer(DataSet):
    """Breast tumours: 569 samples, malignant or benign, with 30 measurements.

    Args:
        expect: expected properties of the data, checked on loading.

    Source: Wolberg et al. 1993, UCI Breast Cancer Wisconsin (Diagnostic).
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        from sklearn.datasets import load_breast_cancer

        bunch = load_breast_cancer()
        return _split("breast_cancer", bunch.data, bunch.target, tuple(map(str, bunch.target_names)))


@frozen(kw_only=True)
class Diabetes(DataSet):
    """Diabetes: 442 patients with 10 standardized measurements; the target is disease progression (regression).

    Args:
        expect: expected properties of the data, checked on loading.

    Source: Efron et al. 2004, Least angle regression.
    """

    expect: Expectation | None = option(None)

    def load(self) -> Data:
        from sklearn.datasets import load_diabetes

        x, y = load_diabetes(return_X_y=True)
        test = held_out_mask(np.zeros(len(y)), TEST_FRACTION)
        return Data(x[~test], y[~test], x[test], y[test], name="diabetes", regression=True)


def _split(name: str, x: Any, y: Any, names: tuple[str, ...] = ()) -> Data:
    test = held_out_mask(y, TEST_FRACTION)
    return Data(x[~test], y[~test], x[test], y[test], name=name, class_names=names)
