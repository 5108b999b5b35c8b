"""Curves over seeds: a common grid, means and intervals by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rlcl.comparison.bands import band, band_over_seeds, section_means

NAN = float("nan")


def test_a_band_is_the_mean_and_students_interval_of_what_is_there() -> None:
    found = band(np.array([0, 1, 2]), np.array([[1.0, 1.0, NAN], [3.0, NAN, NAN]]))
    assert [2.0, 1.0] == found.mean[:2].tolist()
    # Two seeds 1 and 3: standard error 1, and t at 0.975 with one degree of freedom is 12.706.
    assert found.low[0] == pytest.approx(2 - 12.7062, abs=1e-4)
    assert found.high[0] == pytest.approx(2 + 12.7062, abs=1e-4)
    assert np.isnan(found.low[1:]).all()
    assert np.isnan(found.mean[2])


def test_seeds_with_other_steps_meet_on_one_grid() -> None:
    found = band_over_seeds([(np.array([0, 10]), np.array([1.0, 2.0])), (np.array([0, 20]), np.array([3.0, NAN]))], 100)
    assert found is not None
    assert [0, 10] == found.steps.tolist()
    assert [2.0, 2.0] == found.mean.tolist()
    assert (2, 1) == (found.seeds, found.section_size)


def test_a_long_curve_is_thinned_to_means_of_stretches() -> None:
    assert [1.5, 3.5] == section_means(np.arange(4), np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 1.5, 3])).tolist()
    found = band_over_seeds([(np.arange(1000), np.full(1000, 7.0))], 50)
    assert found is not None
    assert (50, 20) == (len(found.steps), found.section_size)
    assert {7.0} == set(found.mean.tolist())


def test_nothing_gives_nothing() -> None:
    assert band_over_seeds([(np.array([]), np.array([])), (np.array([1]), np.array([NAN]))], 10) is None
