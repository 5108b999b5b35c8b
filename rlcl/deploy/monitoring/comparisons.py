"""What a window of requests is compared with: features one by one, the encoder's features together, predictions."""

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
    "Comparison",
    "Features",
    "Finding",
    "Moved",
    "Projections",
    "Shares",
    "ascending",
    "columns",
    "names",
    "times_of",
]

Array = np.ndarray[Any, Any]

FEATURES = 1024  # of an input that are compared one by one
DIRECTIONS = 64
DIGITS = 6  # behind the point, of projections in units of a standard deviation
LISTED = 10  # of those that moved
ROUNDING = 1e-9
DECIDED = (
    15  # independent rows that a sample must be worth: of fewer its correlation time is too uncertain to divide by
)


@frozen
class Moved:
    """One feature, direction or class.

    Args:
        what: its name.
        statistic: distance of the distribution functions, or difference of the shares, window minus reference.
        p: of the test of it alone.
    """

    what: str
    statistic: float
    p: float


@frozen
class Finding:
    """What a comparison found.

    Args:
        worst: the least likely of all.
        threshold: for each p: the level of the comparison, shared by all that it looks at.
        count: how many p are at or under it.
        moved: the least likely of those, at most ten.
        undecided: how many were not tested, since their rows resemble each other for too long; their p is 1.
    """

    worst: Moved
    threshold: float
    count: int
    moved: tuple[Moved, ...]
    undecided: int = 0


class Comparison(Protocol):
    """A reference that windows are compared with."""

    def of(self, window: Array, level: float) -> Finding:
        """Tests one window.

        Args:
            window: (B, F), or (B,) of classes, in the order of requests.
            level: probability of a false alarm.
        """
        ...


@define(eq=False)
class Features:
    """Compares features one by one, by Kolmogorov and Smirnov with Bonferroni's correction.

    A value that is missing (NaN) counts as greater than every number, so that one test sees both how the values that
    are there are distributed and how many are not. Where it is the latter that differs most, the name says so.

    A sample counts for its rows divided by the longest correlation time of any feature: what happens to be constant in
    a window, or varies with something slow that shows in it but weakly, does not tell its own. Features whose time is
    so long that the sample is worth too few rows are not tested, and lengthen only that of constants.

    Args:
        called: F names.
        reference: (N, F), NaN where a value is missing.
        ordered: whether rows of the reference resemble their neighbours, as env steps do.
        independent: whether rows of windows are known not to, as those of whole episodes.
        alike: whether all features are of one process, so that none is tested where one cannot be.

    Source: Rabanser, Guennemann & Lipton 2019, "Failing Loudly", section 3.
    """

    called: Sequence[str]
    reference: Array
    ordered: bool = False
    independent: bool = False
    alike: bool = False
    _sorted: Array = field(init=False)
    _missing: Array = field(init=False)
    _sizes: Array = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sorted, self._missing = ascending(self.reference)
        self._sizes = self._worth(self.reference, self.ordered)

    def of(self, window: Array, level: float) -> Finding:
        """See :class:`Comparison`."""
        sizes = self._worth(window, not self.independent)
        values, missing = ascending(window)
        distances = ks_distances(self._sorted, values)
        levels = ks_levels(distances, self._sizes, sizes)
        few = (not self.independent) & (sizes < DECIDED) | self.ordered & (self._sizes < DECIDED)
        fewer = (distances > 0) & (np.abs(missing - self._missing) >= distances - ROUNDING)
        called = [f"{name} missing" if less else name for name, less in zip(self.called, fewer, strict=True)]
        return _finding(called, distances, levels, level, few)

    def _worth(self, rows: Array, dependent: bool) -> Array:
        """(F,) how many independent rows they are worth."""
        if not dependent:
            return np.full(len(self.called), float(len(rows)))
        times = times_of(rows)
        times[rows.max(0) == rows.min(0)] = times.max()
        known = times if self.alike else times[times * DECIDED <= len(rows)]
        return np.asarray(len(rows) / np.maximum(times, known.max(initial=1.0)))


@define(eq=False)
class Projections:
    """Compares many features together: their projections on fixed random directions, tested as :class:`Features` are.

    Two distributions that differ differ on almost every direction. Other than permutation tests of kernels or
    energies, whose p is never under one by their number of permutations, this one can be tested at any level.

    Args:
        reference: (N, F); what is missing counts as the feature's mean, for how much is missing :class:`Features` see.
        ordered, independent: as of :class:`Features`.

    Source: Cuesta-Albertos, Fraiman & Ransford 2007, "A sharp form of the Cramer-Wold theorem", corollary 3.2; several
    directions with a correction as in Cuesta-Albertos, del Barrio, Fraiman & Matran 2007.
    """

    reference: Array
    ordered: bool = False
    independent: bool = False
    _middle: Array = field(init=False)
    _directions: Array = field(init=False)
    _features: Features = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._middle = _means(self.reference)
        spread = np.where(np.isnan(self.reference), self._middle, self.reference).std(0)
        directions = np.random.default_rng(0).standard_normal((self.reference.shape[1], DIRECTIONS))
        self._directions = directions / np.where(spread > 0, spread, 1)[:, None]  # a constant that moves is seen, too
        called = [f"direction {n}" for n in range(DIRECTIONS)]
        self._features = Features(called, self._projected(self.reference), self.ordered, self.independent, alike=True)

    def of(self, window: Array, level: float) -> Finding:
        """See :class:`Comparison`."""
        return self._features.of(self._projected(window), level)

    def _projected(self, table: Array) -> Array:
        centred = np.where(np.isnan(table), 0, table - self._middle)
        # Rounded, or equal rows would differ by the last bits of a product, which depend on how many there are.
        return np.round(centred @ self._directions, DIGITS)


@define(eq=False)
class Shares:
    """Compares how often each class is predicted, by Fisher's exact test with Bonferroni's correction.

    All classes count for the rows divided by the longest correlation time of any of them: of a class that a window
    shows in one run, or not at all, its own rows do not tell how long runs last.

    Args:
        classes: names by number; of others the number is the name.
        reference: (N,) int64.
        ordered: as of :class:`Features`.
    """

    classes: Sequence[str]
    reference: Array
    ordered: bool = False

    def of(self, window: Array, level: float) -> Finding:
        """See :class:`Comparison`."""
        kinds = np.union1d(self.reference, window)
        was, now = self.reference[:, None] == kinds, window[:, None] == kinds
        many, before = _thinned(was, correlation_times(was).max() if self.ordered else 1.0)
        size, counts = _thinned(now, correlation_times(now).max())
        levels = share_levels(before, np.full(len(kinds), many), counts, np.full(len(kinds), size))
        few = np.full(len(kinds), size < DECIDED or (self.ordered and many < DECIDED))
        called = [f"class {self.classes[k]}" if 0 <= k < len(self.classes) else f"class {k}" for k in kinds]
        return _finding(called, now.mean(0) - was.mean(0), levels, level, few)


def times_of(values: Array) -> Array:
    """Correlation times: the longest of features', of their distances' from the mean, and of what is missing of them.

    The mean of what swings to and fro is known soon; its distribution is not where swings are wide for a while.
    """
    absent = np.isnan(values)
    if absent.any():
        values = np.where(absent, _means(values), values)
        return np.maximum(times_of(values), correlation_times(absent))
    return np.maximum(correlation_times(values), correlation_times(np.abs(values - values.mean(0))))


def _means(values: Array) -> Array:
    """(F,) of the values that are there, 0 where none is."""
    absent = np.isnan(values)
    if not absent.any():
        return np.asarray(values.mean(0))
    known = np.maximum((~absent).sum(0), 1)
    return np.asarray((np.where(absent, 0, values).sum(0) / known).astype(values.dtype))


def _thinned(is_kind: Array, time: float) -> tuple[int, Array]:
    """The effective size of a sample, and each class's count in so many rows."""
    size = int(max(len(is_kind) // time, 1))
    return size, np.round(is_kind.mean(0) * size).astype(np.int64)


def _finding(called: Sequence[str], statistics: Array, levels: Array, level: float, undecided: Array) -> Finding:
    threshold = level / len(levels)
    levels = np.where(undecided, 1.0, levels)
    # p may underflow to 0 for several: among those the largest difference comes first.
    order = np.lexsort((-np.abs(statistics), levels))
    found = [Moved(called[i], float(statistics[i]), float(levels[i])) for i in order[:LISTED]]
    moved = tuple(each for each in found if each.p <= threshold)
    return Finding(found[0], threshold, int((levels <= threshold).sum()), moved, int(undecided.sum()))


def ascending(values: Array) -> tuple[Array, Array]:
    """(F, B) values in ascending order, what is missing last, as infinity; and (F,) the share that is missing.

    Args:
        values: (B, F), NaN where a value is missing.
    """
    absent = np.isnan(values)
    return np.sort(np.where(absent, np.inf, values).T, axis=1), absent.mean(0)


def names(parts: Sequence[Field]) -> list[str]:
    """What the columns of :func:`columns` are called: ``input[3][4]``, those of a table by their own names."""
    every = [name for part in parts for name in _names(part)]
    return [every[i] for i in _chosen(len(every))]


def _names(part: Field) -> list[str]:
    if part.columns:
        return [column.name for column in part.columns]
    return [part.name + "".join(f"[{i}]" for i in place) for place in np.ndindex(*part.shape)]


def columns(parts: Sequence[Field], arrays: Any) -> Array:
    """All features of a batch side by side; of more than 1,024 as many, evenly spread.

    Args:
        parts: of the signature.
        arrays: (B, *shape) by name.

    Returns:
        (B, F), float32 where it holds every value and else float64.
    """
    tables = [np.asarray(arrays[part.name]).reshape(len(arrays[part.name]), -1) for part in parts]
    wide = any(np.result_type(table.dtype, np.float32) != np.float32 for table in tables)
    whole = np.concatenate(tables, 1)[:, _chosen(sum(t.shape[1] for t in tables))]
    return np.asarray(whole, np.float64 if wide else np.float32)


def _chosen(count: int) -> Array:
    return np.unique(np.linspace(0, count - 1, min(count, FEATURES)).astype(np.int64))
