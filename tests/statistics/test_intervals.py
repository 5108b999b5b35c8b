"""Intervals over seeds, by hand."""

from __future__ import annotations

import math

import pytest

from rlcl.statistics.intervals import summarize


def test_a_student_interval() -> None:
    # Mean 2, standard deviation 1, three seeds; Student's t at 0.975 with 2 degrees of freedom is 4.302653.
    summary = summarize([1.0, 2.0, 3.0])
    half = 4.302653 * 1.0 / math.sqrt(3)
    assert (2.0, 3) == (summary.mean, summary.seeds)
    assert pytest.approx((2.0 - half, 2.0 + half), abs=1e-5) == (summary.low, summary.high)
    assert pytest.approx(half, abs=1e-5) == summary.half_width


def test_a_student_interval_of_two_seeds_at_another_confidence() -> None:
    # Deviation sqrt(2) about 4; t at 0.95 with 1 degree of freedom is 6.313752: half is 6.313752 * sqrt(2) / sqrt(2).
    summary = summarize([3.0, 5.0], confidence=0.9)
    assert pytest.approx((4.0 - 6.313752, 4.0 + 6.313752), abs=1e-5) == (summary.low, summary.high)


def test_one_seed_has_a_mean_and_no_interval() -> None:
    summary = summarize([0.7])
    assert (0.7, 1) == (summary.mean, summary.seeds)
    assert math.isnan(summary.low)
    assert math.isnan(summary.high)
    assert math.isnan(summary.half_width)
