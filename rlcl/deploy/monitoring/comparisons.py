"""Comparisons of a window of requests with the reference: single features, joint features and class shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from attrs import define, field, frozen

from rlcl.deploy.monitoring.statistics import (
    correlation_times,
    ks_distances,
    ks_levels,
    share_levels,
)
from rlcl.deploy.signature import Field

__all__ = [
    "ClassShareComparison",
    "ComparisonResult",
    "Difference",
    "FeatureComparison",
    "ProjectionComparison",
    "WindowComparison",
    "column_names",
    "feature_correlation_times",
    "feature_matrix",
    "sorted_features",
]

Array = np.ndarray[Any, Any]

MAX_FEATURES = 1024  # features of an input that are compared one by one
DIRECTIONS = 64
DIGITS = 6  # decimal places of projections, in units of a standard deviation
LISTED = 10  # significant differences that a result lists
ROUNDING = 1e-9
# Minimum effective size of a sample that is tested. With fewer independent rows, the estimate of the correlation time
# is too uncertain.
MIN_SIZE = 15


@frozen
class Difference:
    """The difference between window and reference in one feature, direction or class.

    Args:
        what: name of the feature, direction or class.
        statistic: distance of the distribution functions, or difference of the shares, window minus reference.
        p: p-value of the single test, without correction.
    """

    what: str
    statistic: float
    p: float


@frozen
class ComparisonResult:
    """The result of comparing one window with the reference.

    Args:
        worst: difference with the smallest p.
        threshold: level for each p: the level of the comparison, divided by the number of tests.
        count: number of differences whose p is at most the threshold.
        significant: at most ten of those, by increasing p.
        undecided: number of tests that were skipped because successive rows are correlated for too long; their p is 1.
    """

    worst: Difference
    threshold: float
    count: int
    significant: tuple[Difference, ...]
    undecided: int = 0


class WindowComparison(Protocol):
    """A comparison of windows with a fixed reference."""

    def compare(self, window: Array, level: float) -> ComparisonResult:
        """Test one window.

        Args:
            window: (B, F), or (B,) for classes, in the order of requests.
            level: probability of a false alarm.
        """
        ...


@define(eq=False)
class FeatureComparison:
    """A comparison of single features by Kolmogorov-Smirnov tests with Bonferroni's correction.

    A missing value (NaN) counts as greater than every number. One test therefore covers both the distribution of the
    present values and the share of missing ones. If the share of missing values differs most, the
    difference is named after the feature, followed by ``missing``.

    The effective size of a sample is its number of rows divided by the maximum correlation time of all features. A
    feature that happens to be constant in a window, or that depends only weakly on a slow process, does not show its
    own correlation time. A feature is not tested if its correlation time leaves too small an effective size; that
    time then lengthens only the time of constant features.

    Args:
        names: names of the F features.
        reference: (N, F) reference rows, NaN for a missing value.
        ordered: whether consecutive rows of the reference are correlated, as env steps are.
        independent: whether rows of windows are known to be independent, as whole episodes are.
        same_process: whether all features come from one process, so that either all are tested or none is.

    Source: Rabanser, Guennemann & Lipton 2019, "Failing Loudly", section 3.
    """

    names: Sequence[str]
    reference: Array
    ordered: bool = False
    independent: bool = False
    same_process: bool = False
    _sorted: Array = field(init=False)
    _missing: Array = field(init=False)
    _sizes: Array = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sorted, self._missing = sorted_features(self.reference)
        self._sizes = self._effective_sizes(self.reference, self.ordered)

    def compare(self, window: Array, level: float) -> ComparisonResult:
        """Test one window, see :class:`WindowComparison`."""
        sizes = self._effective_sizes(window, not self.independent)
        values, missing = sorted_features(window)
        distances = ks_distances(self._sorted, values)
        levels = ks_levels(distances, self._sizes, sizes)
        undecided = (not self.independent) & (sizes < MIN_SIZE) | self.ordered & (self._sizes < MIN_SIZE)
        by_missing = (distances > 0) & (np.abs(missing - self._missing) >= distances - ROUNDING)
        names = [
            f"{name} missing" if is_missing else name for name, is_missing in zip(self.names, by_missing, strict=True)
        ]
        return _result(names, distances, levels, level, undecided)

    def _effective_sizes(self, rows: Array, dependent: bool) -> Array:
        """Compute the (F,) numbers of independent rows that the rows are equivalent to."""
        if not dependent:
            return np.full(len(self.names), float(len(rows)))
        times = feature_correlation_times(rows)
        times[rows.max(0) == rows.min(0)] = times.max()
        usable = times if self.same_process else times[times * MIN_SIZE <= len(rows)]
        return np.asarray(len(rows) / np.maximum(times, usable.max(initial=1.0)))


@define(eq=False)
class ProjectionComparison:
    """A joint comparison of many features by their projections on fixed random directions.

    The projections are tested as :class:`FeatureComparison` tests features. Two distributions that differ also differ
    on almost every direction. The p-value of a permutation test of kernels or energies is at least one divided by the
    number of permutations; the p-value of this test has no lower bound, so it can be tested at any level.

    Args:
        reference: (N, F) reference rows; a missing value counts as the mean of its feature.
            :class:`FeatureComparison` tests the share of missing values.
        ordered, independent: same as in :class:`FeatureComparison`.

    Source: Cuesta-Albertos, Fraiman & Ransford 2007, "A sharp form of the Cramer-Wold theorem", corollary 3.2; several
    directions with a correction as in Cuesta-Albertos, del Barrio, Fraiman & Matran 2007.
    """

    reference: Array
    ordered: bool = False
    independent: bool = False
    _means: Array = field(init=False)
    _directions: Array = field(init=False)
    _features: FeatureComparison = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._means = _feature_means(self.reference)
        spread = np.where(np.isnan(self.reference), self._means, self.reference).std(0)
        directions = np.random.default_rng(0).standard_normal((self.reference.shape[1], DIRECTIONS))
        # A constant feature keeps its weight, so that a change of its value is detected.
        self._directions = directions / np.where(spread > 0, spread, 1)[:, None]
        names = [f"direction {n}" for n in range(DIRECTIONS)]
        self._features = FeatureComparison(
            names, self._project(self.reference), self.ordered, self.independent, same_process=True
        )

    def compare(self, window: Array, level: float) -> ComparisonResult:
        """Test one window, see :class:`WindowComparison`."""
        return self._features.compare(self._project(window), level)

    def _project(self, table: Array) -> Array:
        centered = np.where(np.isnan(table), 0, table - self._means)
        # The last bits of a product depend on the number of rows. Without rounding, equal rows would differ.
        return np.round(centered @ self._directions, DIGITS)


@define(eq=False)
class ClassShareComparison:
    """A comparison of the share of each predicted class, by Fisher's exact test with Bonferroni's correction.

    The effective size of a sample is its number of rows divided by the maximum correlation time of all classes. A class
    that a window contains in one run, or not at all, does not show how long its runs last.

    Args:
        classes: names by class index; a class beyond them is named by its index.
        reference: (N,) int64 reference classes.
        ordered: same as in :class:`FeatureComparison`.
    """

    classes: Sequence[str]
    reference: Array
    ordered: bool = False

    def compare(self, window: Array, level: float) -> ComparisonResult:
        """Test one window, see :class:`WindowComparison`."""
        classes = np.union1d(self.reference, window)
        before, now = self.reference[:, None] == classes, window[:, None] == classes
        reference_size, reference_counts = _effective_counts(
            before, correlation_times(before).max() if self.ordered else 1.0
        )
        window_size, window_counts = _effective_counts(now, correlation_times(now).max())
        levels = share_levels(
            reference_counts,
            np.full(len(classes), reference_size),
            window_counts,
            np.full(len(classes), window_size),
        )
        undecided = np.full(len(classes), window_size < MIN_SIZE or (self.ordered and reference_size < MIN_SIZE))
        names = [f"class {self.classes[k]}" if 0 <= k < len(self.classes) else f"class {k}" for k in classes]
        return _result(names, now.mean(0) - before.mean(0), levels, level, undecided)


def feature_correlation_times(values: Array) -> Array:
    """Compute (F,) correlation times, the maximum over values, distances from the mean and missing values.

    The mean of an oscillating feature is known after a few rows. Its distribution is not if the amplitude changes
    slowly; the distances from the mean show that.

    Args:
        values: (B, F), NaN for a missing value.
    """
    absent = np.isnan(values)
    if absent.any():
        values = np.where(absent, _feature_means(values), values)
        return np.maximum(feature_correlation_times(values), correlation_times(absent))
    return np.maximum(correlation_times(values), correlation_times(np.abs(values - values.mean(0))))


def _feature_means(values: Array) -> Array:
    """Compute the (F,) means of the present values, 0 for a feature without any."""
    absent = np.isnan(values)
    if not absent.any():
        return np.asarray(values.mean(0))
    present = np.maximum((~absent).sum(0), 1)
    return np.asarray((np.where(absent, 0, values).sum(0) / present).astype(values.dtype))


def _effective_counts(is_class: Array, time: float) -> tuple[int, Array]:
    """Return the effective size of a sample and the count of each class in that many rows."""
    size = int(max(len(is_class) // time, 1))
    return size, np.round(is_class.mean(0) * size).astype(np.int64)


def _result(names: Sequence[str], statistics: Array, levels: Array, level: float, undecided: Array) -> ComparisonResult:
    threshold = level / len(levels)
    levels = np.where(undecided, 1.0, levels)
    # Several p may underflow to 0. The maximum difference comes first among equal p.
    order = np.lexsort((-np.abs(statistics), levels))
    differences = [Difference(names[i], float(statistics[i]), float(levels[i])) for i in order[:LISTED]]
    significant = tuple(difference for difference in differences if difference.p <= threshold)
    return ComparisonResult(
        differences[0], threshold, int((levels <= threshold).sum()), significant, int(undecided.sum())
    )


def sorted_features(values: Array) -> tuple[Array, Array]:
    """Sort each feature, and compute its share of missing values.

    Args:
        values: (B, F), NaN for a missing value.

    Returns:
        (F, B) values in ascending order, missing ones last as infinity; and (F,) shares of missing values.
    """
    absent = np.isnan(values)
    return np.sort(np.where(absent, np.inf, values).T, axis=1), absent.mean(0)


def column_names(fields: Sequence[Field]) -> list[str]:
    """Return the names of the columns of :func:`feature_matrix`: ``input[3][4]``, or the column names of a table."""
    names = [name for part in fields for name in _field_column_names(part)]
    return [names[i] for i in _selected_columns(len(names))]


def _field_column_names(part: Field) -> list[str]:
    if part.columns:
        return [column.name for column in part.columns]
    return [part.name + "".join(f"[{i}]" for i in index) for index in np.ndindex(*part.shape)]


def feature_matrix(fields: Sequence[Field], arrays: Any) -> Array:
    """Concatenate all features of a batch; more than 1,024 are subsampled to 1,024 at even distances.

    Args:
        fields: fields of the signature.
        arrays: (B, *shape) arrays by name.

    Returns:
        (B, F), float32 if it represents every value, else float64.
    """
    tables = [np.asarray(arrays[part.name]).reshape(len(arrays[part.name]), -1) for part in fields]
    wide = any(np.result_type(table.dtype, np.float32) != np.float32 for table in tables)
    matrix = np.concatenate(tables, 1)[:, _selected_columns(sum(t.shape[1] for t in tables))]
    return np.asarray(matrix, np.float64 if wide else np.float32)


def _selected_columns(count: int) -> Array:
    return np.unique(np.linspace(0, count - 1, min(count, MAX_FEATURES)).astype(np.int64))
