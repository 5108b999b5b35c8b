"""Tests, their correction and their power: by hand, and beside published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlcl.statistics.aggregates import BootstrapInterval, bootstrap, difference, mean
from rlcl.statistics.hypotheses import (
    bootstrap_test,
    detectable_difference,
    holm_correction,
    power,
    rank_test,
    seeds_needed,
    stratified_rank_test,
    t_test,
)
from rlcl.statistics.intervals import summarize

A, B = [3.0, 5.0, 7.0], [2.0, 3.0, 4.0]


def test_the_paired_test_is_student_s_of_the_differences() -> None:
    # Differences 1, 2, 3: mean 2, deviation 1, so t = 2 sqrt(3) with 2 degrees of freedom: p = 1 - t / sqrt(2 + t^2).
    test = t_test(A, B, paired=True)
    t = 2 * math.sqrt(3)
    assert ("paired t", 2.0, 1.0, 1) == (test.name, test.difference, test.deviation, test.freedom_per_seed)
    assert pytest.approx(1 - t / math.sqrt(2 + t**2)) == test.p
    interval = summarize([1.0, 2.0, 3.0])
    assert pytest.approx((interval.low, interval.high)) == (test.low, test.high)


def test_without_pairs_it_is_welch_s() -> None:
    # Variances 4 and 1: the error is sqrt(5 / 3), with (5/3)^2 / ((4/3)^2 / 2 + (1/3)^2 / 2) = 50 / 17 degrees.
    from scipy.stats import t

    test = t_test(A, B, paired=False)
    assert ("Welch's t", 2.0, 2) == (test.name, test.difference, test.freedom_per_seed)
    assert pytest.approx(math.sqrt(5)) == test.deviation
    assert pytest.approx(2 * t.sf(2 / math.sqrt(5 / 3), 50 / 17)) == test.p
    half = t.ppf(0.975, 50 / 17) * math.sqrt(5 / 3)
    assert pytest.approx((2 - half, 2 + half)) == (test.low, test.high)


@pytest.mark.parametrize("paired", [True, False])
def test_what_never_varies_leaves_no_doubt(paired: bool) -> None:
    assert 1.0 == t_test([2.0, 2.0], [2.0, 2.0], paired=paired).p
    found = t_test([3.0, 3.0], [2.0, 2.0], paired=paired)
    assert (0.0, 1.0, 1.0) == (found.p, found.low, found.high)


def test_signed_ranks_of_five_seeds_never_reach_the_level() -> None:
    # All five differences have one sign: 2 of the 2^5 assignments of signs are as extreme.
    test = rank_test([1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 0.9, 1.8, 2.7, 3.6], paired=True)
    assert "Wilcoxon's signed ranks" == test.name
    assert pytest.approx(2 / 32) == test.p


def test_ranks_leave_out_seeds_that_are_equal() -> None:
    assert 1.0 == rank_test([1.0, 2.0], [1.0, 2.0], paired=True).p
    four = rank_test([1.0, 2.0, 3.0, 4.0, 9.0], [0.0, 0.9, 1.8, 2.7, 9.0], paired=True)
    assert pytest.approx(2 / 16) == four.p


def test_ranks_of_two_sets_of_seeds() -> None:
    # All of one above all of the other: 2 of the 20 ways to choose three of six.
    assert pytest.approx(2 / 20) == rank_test([4.0, 5.0, 6.0], [1.0, 2.0, 3.0], paired=False).p


def test_holm_s_correction() -> None:
    # Sorted .01, .02, .04: 3 * .01, 2 * .02, 1 * .04, each at least the one before.
    assert pytest.approx([0.04, 0.03, 0.04]) == holm_correction([0.04, 0.01, 0.02])
    assert pytest.approx([1.0, 1.0]) == holm_correction([0.6, 0.9])
    assert pytest.approx([0.06, 0.06]) == holm_correction([0.03, 0.04])


def test_a_bootstrap_of_one_stream_is_student_s_test() -> None:
    # The mean of one stream: the error of many draws, widened by n / (n - 1), is that of the mean.
    a, b = np.array([[3.0], [5.0], [7.0]]), np.array([[2.0], [3.0], [4.0]])
    found = difference(*(bootstrap(table, mean, np.random.default_rng(0)) for table in (a, b)))
    test = bootstrap_test(found, np.array([1 / 3]), np.array([2.0]), 3)
    expected = t_test(A, B, paired=True)
    assert pytest.approx(expected.p, rel=0.02) == test.p
    assert pytest.approx((expected.low, expected.high), abs=0.03) == (test.low, test.high)
    assert pytest.approx(expected.deviation, rel=0.01) == test.deviation
    assert expected.freedom_per_seed == test.freedom_per_seed


def test_streams_that_vary_alike_add_their_degrees_of_freedom() -> None:
    # Three equal variances with 4 degrees of freedom each make 12: 3 for each seed after the first.
    found = BootstrapInterval(1.0, 0.0, 2.0, np.array([0.5, 1.5]))
    assert 3 == bootstrap_test(found, np.full(3, 0.2), np.full(3, 4.0), 5).freedom_per_seed
    # One stream that varies a hundred times as much decides alone.
    assert 1 == bootstrap_test(found, np.array([100.0, 1.0, 1.0]), np.full(3, 4.0), 5).freedom_per_seed


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.3, 0.0)])
def test_a_bootstrap_that_never_varies_leaves_no_doubt(value: float, p: float) -> None:
    assert p == bootstrap_test(BootstrapInterval(value, value, value, np.full(9, value)), np.zeros(2), np.ones(2), 2).p


def test_stratified_ranks() -> None:
    # Two streams of 4 and 4 runs: each has variance 9 / 192, their mean half of it; all above all: 0.5 away.
    test = stratified_rank_test(1.0, (4, 4), 2, (0.9, 1.0))
    assert pytest.approx(math.erfc(0.5 / math.sqrt(9 / 384) / math.sqrt(2))) == test.p
    assert (1.0, 0.9, 1.0) == (test.difference, test.low, test.high)
    assert pytest.approx(1.0) == stratified_rank_test(0.5, (4, 4), 2, (0.2, 0.8)).p


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 34), (0.8, 15), (1.0, 10)])
def test_pairs_needed_are_those_of_the_tables(effect: float, seeds: int) -> None:
    # Cohen 1988 and G*Power: two-sided, level 0.05, power 0.8.
    assert seeds == seeds_needed(effect, 0.05, 1)


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 64), (0.8, 26), (1.0, 17)])
def test_seeds_needed_without_pairs_are_those_of_the_tables(effect: float, seeds: int) -> None:
    # Cohen's d is over the deviation of one learner; ours over that of the difference of two.
    assert seeds == seeds_needed(effect / math.sqrt(2), 0.05, 2)


def test_ranks_need_more_seeds_and_enough_to_decide_at_all() -> None:
    assert math.ceil(34 * math.pi / 3) == seeds_needed(0.5, 0.05, 1, ranks=True)
    # 2 / 2^n is 1/16 and 1/32 at n = 5 and 6; 2 over (2n choose n) is 1/10 and 1/35 at n = 3 and 4.
    assert 6 == seeds_needed(50.0, 0.05, 1, ranks=True)
    assert 4 == seeds_needed(50.0, 0.05, 2, ranks=True)


def test_a_difference_that_is_too_small_asks_for_no_number() -> None:
    assert seeds_needed(0.01, 0.05, 1) is None
    assert seeds_needed(0.0, 0.05, 1) is None


def test_what_is_detectable_is_what_needs_so_many_seeds() -> None:
    found = detectable_difference(3.0, 12, 0.05, 1)
    assert pytest.approx(0.8) == power(found / 3.0, 12, 0.05, 1)
    assert 12 == seeds_needed(found / 3.0 + 1e-9, 0.05, 1)
    assert 0.0 == detectable_difference(0.0, 5, 0.05, 1)


def test_power_grows_to_one() -> None:
    values = [power(effect, 5, 0.05, 1) for effect in (0.0, 1.0, 5.0, 1e6)]
    assert pytest.approx(0.05) == values[0]
    assert sorted(values) == values
    assert pytest.approx(1.0) == values[-1]
