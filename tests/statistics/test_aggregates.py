"""Aggregates over runs and tasks by hand; bootstrap intervals where every outcome can be counted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, trim_mean

from rlcl.statistics import aggregates
from rlcl.statistics.aggregates import (
    AGGREGATES,
    BootstrapInterval,
    bootstrap,
    difference,
    improvement_interval,
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    profile_bands,
    sample_efficiency,
)

TWO = np.array([[0.0], [1.0]])  # a bootstrap of its mean gives 0, 1/2 and 1 in 1, 2 and 1 of 4 cases


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def ends(interval: BootstrapInterval) -> tuple[float, float]:
    return float(interval.low), float(interval.high)


def test_the_mean_weighs_all_scores_the_same() -> None:
    assert 3.0 == mean(np.array([[0.0, 4.0], [2.0, 6.0]]))


def test_the_median_is_over_tasks_of_the_mean_over_runs() -> None:
    # Means of the tasks: 0, 3 and 10. The median of all nine scores is 2.
    assert 3.0 == median(np.array([[0.0, 2.0, 10.0], [0.0, 2.0, 10.0], [0.0, 5.0, 10.0]]))


def test_the_interquartile_mean_cuts_a_quarter_at_each_end_over_runs_and_tasks_together() -> None:
    # Eight scores: 0, 1 | 2, 3, 4, 5 | 6, 100.
    assert 3.5 == interquartile_mean(np.array([[100.0, 0.0], [5.0, 1.0], [6.0, 2.0], [3.0, 4.0]]))


@pytest.mark.parametrize(("size", "expected"), [(3, 4.0), (5, 3.0), (6, 3.5)])
def test_the_interquartile_mean_cuts_whole_scores_as_scipy_does(size: int, expected: float) -> None:
    # floor(3/4) = 0 of (1, 2, 9); floor(5/4) = 1 of (1, 2, 3, 4, 9); floor(6/4) = 1 of (1, 2, 3, 4, 5, 9).
    scores = np.array([9.0, *range(1, size)])[:, None]
    assert expected == interquartile_mean(scores)
    assert pytest.approx(trim_mean(scores, 0.25, None)) == interquartile_mean(scores)


def test_the_optimality_gap_does_not_reward_what_is_above_the_target() -> None:
    # 1 - (0.5 + 1) / 2; and 2 - (0.5 + 1.5) / 2.
    assert 0.25 == optimality_gap(np.array([[0.5, 1.5]]))
    assert 1.0 == optimality_gap(np.array([[0.5, 1.5]]), target=2.0)


@pytest.mark.parametrize("name", AGGREGATES)
def test_an_aggregate_keeps_the_axes_before_runs_and_tasks(name: str) -> None:
    scores = rng().random((3, 5, 4))
    apart = [AGGREGATES[name](table) for table in scores]
    np.testing.assert_allclose(apart, AGGREGATES[name](scores))


def test_a_profile_is_the_share_of_runs_above_each_threshold() -> None:
    scores = np.array([[0.2, 0.6], [0.4, 0.8]])
    # Above 0.3: half and all; above 0.4 itself: none and all; above 0.7: none and half.
    np.testing.assert_array_equal([0.75, 0.5, 0.25], performance_profile(scores, np.array([0.3, 0.4, 0.7])))


def test_the_probability_of_improvement_is_a_mean_over_tasks_and_a_tie_counts_half() -> None:
    scores, others = np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[2.0, 5.0], [0.0, 4.0]])
    # Task 0: 1>0, 3>2, 3>0 of four pairs. Task 1: two ties and two above: 1/2 * 2 + 2 of four. (3/4 + 3/4) / 2.
    assert 0.75 == probability_of_improvement(scores, others)


def test_of_one_task_it_is_the_statistic_of_mann_and_whitney() -> None:
    a, b = rng().random(7), rng().random(5) + 0.2
    expected = mannwhitneyu(a, b).statistic / (7 * 5)
    assert pytest.approx(expected) == probability_of_improvement(a[:, None], b[:, None])


def test_the_bootstrap_of_two_runs_has_the_percentiles_of_its_four_outcomes() -> None:
    found = bootstrap(TWO, mean, rng(), replications=2000)
    assert (0.5, (0.0, 1.0)) == (found.value, ends(found))
    # Between the 30 % and the 70 % percentile there is 1/2 alone.
    assert (0.5, 0.5) == ends(bootstrap(TWO, mean, rng(), replications=2000, confidence=0.4))


def test_the_bootstrap_draws_within_each_task() -> None:
    # Runs of a task agree, so nothing that is drawn within tasks changes the mean.
    assert (5.0, 5.0) == ends(bootstrap(np.array([[0.0, 10.0], [0.0, 10.0]]), mean, rng(), replications=200))


def test_the_bootstrap_draws_each_task_by_itself() -> None:
    # One task is the other's mirror: drawn together the mean is always 1/2; apart it is 0 in 1 of 16 cases.
    assert (0.0, 1.0) == ends(bootstrap(np.array([[0.0, 1.0], [1.0, 0.0]]), mean, rng(), replications=2000))


def test_the_interval_of_a_mean_of_many_runs_is_that_of_the_normal_distribution() -> None:
    scores = rng().normal(3.0, 2.0, (400, 1))
    half = 1.96 * scores.std() / 20
    low, high = ends(bootstrap(scores, mean, rng(), replications=20_000))
    assert pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.02) == (low, high)


def test_one_run_has_no_interval() -> None:
    one = np.array([[1.0, 2.0]])
    found = bootstrap(one, mean, rng())
    assert 1.5 == found.value
    assert np.isnan(ends(found)).all()
    assert np.isnan(ends(difference(found, found))).all()
    assert np.isnan(ends(improvement_interval(one, one, rng()))).all()
    assert np.isnan(profile_bands(one, np.array([0.0, 1.5]), rng()).low).all()


def test_a_difference_of_equal_draws_is_paired() -> None:
    better, worse = (bootstrap(table, mean, rng(), replications=2000) for table in (TWO + 1, TWO))
    paired = difference(better, worse)
    assert (1.0, (1.0, 1.0)) == (paired.value, ends(paired))
    # Apart: 1 + (0, 1/2 or 1) - (0, 1/2 or 1); the extremes come in 1 of 16 cases each.
    other = bootstrap(TWO, mean, np.random.default_rng(1), replications=2000)
    assert (0.0, 2.0) == ends(difference(better, other))


def test_an_unpaired_difference_allows_other_numbers_of_runs() -> None:
    fives, threes = (
        bootstrap(np.full(shape, v), mean, rng(), replications=9) for v, shape in ((5, (3, 2)), (3, (4, 2)))
    )
    assert (2.0, (2.0, 2.0)) == (difference(fives, threes).value, ends(difference(fives, threes)))


def test_the_interval_of_the_probability_of_improvement() -> None:
    scores, others = np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]])
    # As many of two drawn runs as are the 2: 0, 1/2 or 1 in 1, 2 and 1 of 4 cases.
    found = improvement_interval(scores, others, rng(), replications=2000)
    assert (0.5, (0.0, 1.0)) == (found.value, ends(found))
    assert (0.5, 0.5) == ends(improvement_interval(scores, others, rng(), replications=2000, confidence=0.4))


def test_bands_of_a_profile() -> None:
    found = profile_bands(TWO, np.array([-1.0, 0.5, 1.0]), rng())
    np.testing.assert_array_equal([1.0, 0.5, 0.0], found.value)
    np.testing.assert_array_equal([1.0, 0.0, 0.0], found.low)
    np.testing.assert_array_equal([1.0, 1.0, 0.0], found.high)


def test_a_curve_draws_whole_runs() -> None:
    first = rng().random((6, 2))
    found = sample_efficiency(np.stack([first, first + 1]), rng(), replications=50)
    assert (2,) == found.value.shape
    np.testing.assert_allclose(found.low[0] + 1, found.low[1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.high[0] + 1, found.high[1], rtol=0, atol=1e-12)


def test_a_bootstrap_does_not_depend_on_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = rng().random((5, 3))
    whole = ends(bootstrap(scores, interquartile_mean, rng(), replications=300))
    monkeypatch.setattr(aggregates, "CHUNK_SIZE", 15 * 7)
    assert whole == ends(bootstrap(scores, interquartile_mean, rng(), replications=300))


@pytest.mark.parametrize("scores", [np.zeros((0, 2)), np.array([[np.nan, 1.0]]), np.zeros(3)])
def test_what_is_no_table_of_scores_is_refused(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected scores"):
        bootstrap(scores, mean, rng())
