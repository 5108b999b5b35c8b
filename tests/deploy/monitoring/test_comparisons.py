"""Tests by hand, and beside scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rlcl.deploy.monitoring.comparisons import (
    ClassShareComparison,
    FeatureComparison,
    ProjectionComparison,
    column_names,
    feature_matrix,
)
from rlcl.deploy.monitoring.statistics import correlation_times, ks_distances, ks_levels, share_levels, window_level
from rlcl.deploy.signature import Field
from rlcl.types import TableColumn

NAN = float("nan")


def distance(reference: list[float], window: list[float]) -> float:
    return float(ks_distances(np.sort(np.array([reference])), np.sort(np.array([window])))[0])


@pytest.mark.parametrize(
    ("reference", "window", "expected"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], 0.0),
        ([1, 2, 3, 4], [3, 4, 5, 6], 0.5),  # under 3 lie a half and none
        ([1, 2], [3], 1.0),
        ([3], [1, 2], 1.0),
        ([0, 0, 0, 1], [0, 1, 1, 1], 0.5),  # ties: at 0 three quarters and one
        ([5, 5, 5], [5, 5], 0.0),
        ([0, 10], [5], 0.5),  # just before 5 and at it
    ],
)
def test_the_distance_of_small_samples(reference: list[float], window: list[float], expected: float) -> None:
    assert expected == distance(reference, window)


def test_the_distance_is_scipys_with_ties_and_without() -> None:
    rng = np.random.default_rng(0)
    for kinds in (2, 5, 1000):
        reference, window = rng.integers(kinds, size=(4, 37)), rng.integers(kinds, size=(4, 23))
        expected = [stats.ks_2samp(a, b).statistic for a, b in zip(reference, window, strict=True)]
        assert np.allclose(expected, ks_distances(np.sort(reference), np.sort(window)))


def test_the_level_is_kolmogorovs_limit_and_not_under_the_exact_one() -> None:
    # 2 (e^-2x^2 - e^-8x^2 + ...) with x = sqrt(200 * 200 / 400) * 0.15 = 1.5
    (level,) = ks_levels(np.array([0.15]), np.array([200.0]), np.array([200.0]))
    assert 2 * (math.exp(-4.5) - math.exp(-18)) == pytest.approx(level, rel=1e-9)
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.3, 0.8):
        reference, window = rng.normal(size=300), rng.normal(size=120) + shift
        exact = stats.ks_2samp(reference, window, method="exact")
        (level,) = ks_levels(np.array([exact.statistic]), np.array([300.0]), np.array([120.0]))
        assert exact.pvalue <= level <= 3 * exact.pvalue + 0.05


def test_shares_are_fishers_exact_test() -> None:
    # 3 of 4 before, 0 of 2 now: the hypergeometric probability of none is C(3, 2) / C(6, 2) = 0.2, doubled 0.4.
    assert 0.4 == pytest.approx(share_levels(np.array([3]), np.array([4]), np.array([0]), np.array([2]))[0])
    tails = [stats.fisher_exact([[90, 910], [60, 340]], side).pvalue for side in ("less", "greater")]
    (level,) = share_levels(np.array([90]), np.array([1000]), np.array([60]), np.array([400]))
    assert 2 * min(tails) == pytest.approx(level, rel=1e-6)


def test_what_is_spent_never_exceeds_alpha() -> None:
    assert [0.005, 0.01 / 6, 0.01 / 12] == [window_level(window, 0.01) for window in (1, 2, 3)]
    assert 0.01 * 1000 / 1001 == pytest.approx(sum(window_level(window, 0.01) for window in range(1, 1001)))


def test_the_correlation_time_of_repeated_rows_is_their_number() -> None:
    rows = np.random.default_rng(0).normal(size=(100, 1))
    alone, five, constant = (
        correlation_times(np.concatenate([rows] * 5)),
        correlation_times(rows.repeat(5, axis=0)),
        correlation_times(np.full((100, 1), 0.1)),
    )
    assert 1 <= alone[0] < 1.6
    assert 4 < five[0] < 7
    assert [1.0] == constant.tolist()


def test_the_correlation_time_by_hand() -> None:
    # 1, 1, -1, -1: covariances 4, 1, -2, -1; pairs 5/4 and -3/4, of which the first alone counts: 2 * 5/4 - 1.
    assert 1.5 == pytest.approx(correlation_times(np.array([[1.0], [1.0], [-1.0], [-1.0]]))[0])


def test_requests_that_resemble_their_neighbours_raise_no_alarm() -> None:
    rng = np.random.default_rng(0)
    walk = np.zeros(40_000)
    for i, step in enumerate(rng.normal(size=len(walk) - 1)):
        walk[i + 1] = 0.9 * walk[i] + step
    features = FeatureComparison(["x"], walk[:20_000:10, None])
    windows = walk[20_000:].reshape(40, 500, 1)
    assert 0 == sum(features.compare(window, 1e-3).count for window in windows)
    shuffled = rng.permuted(windows, axis=1)  # without the correction the same windows differ
    assert 10 < sum(features.compare(window, 1e-3).count for window in shuffled)


def test_a_reference_of_episodes_counts_for_less() -> None:
    rng = np.random.default_rng(0)
    few = rng.normal(size=(20, 1)).repeat(100, axis=0)  # a reference of twenty values, each a hundred times
    window = rng.normal(size=(500, 1))
    assert 1 == FeatureComparison(["x"], few).compare(window, 1e-3).count
    assert 0 == FeatureComparison(["x"], few, ordered=True).compare(window, 1e-3).count
    coin, fair = (rng.random((20, 1)) < 0.2).astype(int).repeat(100, axis=0)[:, 0], rng.integers(2, size=500)
    assert 2 == ClassShareComparison((), coin).compare(fair, 1e-3).count
    assert 0 == ClassShareComparison((), coin, ordered=True).compare(fair, 1e-3).count


def test_what_swings_to_and_fro_is_no_larger_sample() -> None:
    rng = np.random.default_rng(0)
    widths = np.abs(rng.normal(size=(8, 1))).repeat(250, axis=0)  # eight widths, each for a while
    swinging = widths * np.tile([[1], [-1]], (1000, 1))
    assert [1.0] == correlation_times(swinging).tolist()
    window = rng.normal(size=(500, 1))
    assert 0 == FeatureComparison(["x"], swinging, ordered=True).compare(window, 1e-3).count
    assert 1 == FeatureComparison(["x"], swinging).compare(window, 1e-3).count


def test_bonferroni_divides_by_the_features_and_names_the_worst() -> None:
    rng = np.random.default_rng(0)
    reference, window = rng.normal(size=(400, 4)), rng.normal(size=(300, 4))
    window[:, 2] += 1
    found = FeatureComparison(["a", "b", "c", "d"], reference).compare(window, 0.02)
    assert ("c", 1, 0.005) == (found.worst.what, found.count, found.threshold)
    assert ["c"] == [each.what for each in found.significant]


@pytest.mark.parametrize("kinds", [1, 2, 5])
def test_constant_and_discrete_features_give_no_false_alarm(kinds: int) -> None:
    rng = np.random.default_rng(kinds)
    features = FeatureComparison([str(i) for i in range(10)], rng.integers(kinds, size=(400, 10)))
    assert 0 == sum(features.compare(rng.integers(kinds, size=(200, 10)), 0.01).count for _ in range(50))


def test_what_is_missing_is_greater_than_every_number() -> None:
    # Of 1, 2, 3 and one missing, and 1, 2 and two missing: under what is missing lie 3/4 and 1/2.
    features = FeatureComparison(["x"], np.array([[3.0], [NAN], [1.0], [2.0]]))
    found = features.compare(np.array([[NAN], [2.0], [NAN], [1.0]]), 0.01)
    assert ("x missing", 0.25) == (found.worst.what, found.worst.statistic)
    # 3 became 0: under 1 lie none and 1/4, and as much is missing as was.
    moved = features.compare(np.array([[1.0], [NAN], [0.0], [2.0]]), 0.01)
    assert ("x", 0.25) == (moved.worst.what, moved.worst.statistic)
    assert ("x", 0.0) == (
        features.compare(features.reference, 0.01).worst.what,
        features.compare(features.reference, 0.01).worst.statistic,
    )


def test_missing_values_hide_no_drift_and_are_none() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 3))
    x[rng.random(x.shape) < 0.3] = NAN
    before, same, now = x[:1000], x[1000:], x[1000:].copy()
    now[:, 1] += 1
    for comparison in (FeatureComparison(["a", "b", "c"], before), ProjectionComparison(before)):
        assert 0 == comparison.compare(same, 1e-3).count
        assert 0 < comparison.compare(now, 1e-6).count
    assert ["b"] == [each.what for each in FeatureComparison(["a", "b", "c"], before).compare(now, 1e-6).significant]
    wide = rng.normal(size=(1000, 40))
    wide[rng.random(wide.shape) < 0.3] = NAN
    assert np.isnan(wide).any(1).all()
    assert 0 < ProjectionComparison(wide[:500]).compare(wide[500:] + 1, 1e-6).count
    nothing = np.full((50, 1), NAN)
    for comparison in (FeatureComparison(["x"], nothing), ProjectionComparison(nothing)):
        assert 0 == comparison.compare(nothing, 0.01).count
    assert "x missing" == FeatureComparison(["x"], nothing).compare(np.zeros((50, 1)), 0.01).worst.what


def test_clients_that_miss_a_value_for_a_while_are_no_larger_sample() -> None:
    rng = np.random.default_rng(0)
    absent = (rng.random((8, 1)) < 0.5).repeat(100, axis=0)
    window, reference = np.where(absent, NAN, 5.0), np.where(rng.random((2000, 1)) < 0.2, NAN, 5.0)
    assert absent.mean() > 0.3
    assert 0 == FeatureComparison(["x"], reference).compare(window, 1e-3).count
    assert 1 == FeatureComparison(["x"], reference).compare(rng.permuted(window, axis=0), 1e-3).count


def test_columns_of_a_table_have_their_own_names() -> None:
    part = Field(
        name="input", shape=(2,), dtype="float32", columns=(TableColumn("age"), TableColumn("city", ("a", "b")))
    )
    assert ["age", "city"] == column_names((part,))


def test_projections_see_what_single_features_do_not() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2))
    twin = np.stack([x[:, 0], 0.9 * x[:, 0] + math.sqrt(1 - 0.81) * x[:, 1]], 1)  # the same features, now correlated
    assert 0 == FeatureComparison(["a", "b"], x[:1000]).compare(twin[1000:], 1e-3).count
    assert 0 < ProjectionComparison(x[:1000]).compare(twin[1000:], 1e-3).count
    assert 0 == ProjectionComparison(x[:1000]).compare(x[1000:], 1e-3).count


def test_a_constant_that_moves_is_seen_in_every_projection() -> None:
    x = np.concatenate([np.random.default_rng(0).normal(size=(300, 1)), np.zeros((300, 1))], 1)
    moved = x + np.array([0, 9.0])
    assert 32 < ProjectionComparison(x).compare(moved, 1e-6).count


def test_shares_name_the_class_that_came_or_went() -> None:
    before, now = np.repeat([0, 1], 200), np.tile([0, 1, 2], 100)
    found = ClassShareComparison(("a", "b"), before).compare(now, 0.01)
    assert "class 2" == found.worst.what  # the model's class beyond its names
    assert 1 / 3 == pytest.approx(found.worst.statistic)
    assert 0.01 / 3 == found.threshold
    assert 0 == ClassShareComparison(("a", "b"), before).compare(np.tile([0, 1], 100), 0.01).count


def test_columns_are_named_by_place_and_thinned_evenly() -> None:
    parts = (Field(name="x", shape=(), dtype="float32"), Field(name="y", shape=(2, 2), dtype="uint8"))
    assert ["x", "y[0][0]", "y[0][1]", "y[1][0]", "y[1][1]"] == column_names(parts)
    table = feature_matrix(
        parts, {"x": np.array([9.0], np.float32), "y": np.arange(4, dtype=np.uint8).reshape(1, 2, 2)}
    )
    assert [[9.0, 0.0, 1.0, 2.0, 3.0]] == table.tolist()
    wide = (Field(name="x", shape=(5000,), dtype="float32"),)
    called = column_names(wide)
    assert (1024, "x[0]", "x[4999]") == (len(called), called[0], called[-1])
    assert [0.0, 4999.0] == feature_matrix(wide, {"x": np.arange(5000.0)[None]})[0, [0, -1]].tolist()


def sticky(rng: np.random.Generator, kinds: int, count: int, stay: float) -> np.ndarray:
    """A Markov chain of alike frequent classes: each is the last one's, or drawn anew."""
    fresh, keeps = rng.integers(kinds, size=count), rng.random(count) < stay
    keeps[0] = False
    return fresh[np.maximum.accumulate(np.where(keeps, 0, np.arange(count)))]


@pytest.mark.parametrize("stay", [0.8, 0.9, 0.95])
def test_classes_that_come_in_runs_raise_no_alarm_in_a_whole_life(stay: float) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        shares = ClassShareComparison(tuple("0123456789"), rng.integers(10, size=2_000))
        for window, classes in enumerate(sticky(rng, 10, 5_000, stay).reshape(10, 500), 1):
            assert 0 == shares.compare(classes, window_level(window, 0.01) / 3).count


def test_independent_classes_whose_balance_changes_are_found() -> None:
    rng = np.random.default_rng(0)
    shares = ClassShareComparison(tuple("0123456789"), rng.integers(10, size=2_000))
    changed = [rng.choice(10, 500, p=[0.25, *[0.75 / 9] * 9]) for _ in range(50)]
    assert 48 <= sum(shares.compare(window, window_level(2, 0.01) / 3).count > 0 for window in changed)


def test_directions_and_features_of_classes_in_runs_raise_no_alarm() -> None:
    middles = np.random.default_rng(0).normal(size=(10, 20))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        reference = middles[rng.integers(10, size=2_000)] + rng.normal(size=(2_000, 20))
        compared = ProjectionComparison(reference), FeatureComparison([str(n) for n in range(20)], reference)
        rows = middles[sticky(rng, 10, 5_000, 0.95)] + rng.normal(size=(5_000, 20))
        for window, each in enumerate(rows.reshape(10, 500, 20), 1):
            assert [0, 0] == [one.compare(each, window_level(window, 0.01) / 3).count for one in compared]


def test_digits_in_the_order_in_which_they_were_written_raise_no_alarm() -> None:
    from sklearn.datasets import load_digits

    x = load_digits().data.astype(np.float32)
    features = FeatureComparison([str(n) for n in range(64)], x[np.random.default_rng(0).random(len(x)) < 0.5])
    for seed in range(15):  # each writer has habits, and wrote tens of digits
        starts = np.random.default_rng(seed).integers(len(x) - 250, size=20)
        rows = x[(starts[:, None] + np.arange(250)).ravel()]
        assert not any(
            features.compare(each, window_level(w, 0.01) / 3).count
            for w, each in enumerate(rows.reshape(10, 500, 64), 1)
        )


def test_a_feature_that_is_too_slow_is_undecided_and_hides_no_other() -> None:
    rng = np.random.default_rng(0)
    clock = np.arange(3_000.0)
    table = np.column_stack([clock, rng.normal(size=(3_000, 3))])
    features = FeatureComparison(["clock", "a", "b", "c"], table[rng.permutation(2_000)])
    quiet = features.compare(table[2_500:], 1e-3)
    assert (0, 1) == (quiet.count, quiet.undecided)
    moved = table[2_500:] + np.array([0, 0, 1, 0])
    found = features.compare(moved, 1e-3)
    assert (["b"], 1) == ([each.what for each in found.significant], found.undecided)
    alone = FeatureComparison(["clock"], clock[:2_000, None]).compare(clock[2_500:, None], 1e-3)
    assert (0, 1, 1.0) == (alone.count, alone.undecided, alone.worst.p)
