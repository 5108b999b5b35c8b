"""The judgement of a candidate, against numbers computed by hand and published ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlcl.deploy.updating.gate import GateCondition, overall_verdict, paired_difference, score_condition


def classes(both: int, lost: int, gained: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    before = np.repeat([1, 1, 0, 0], [both, lost, gained, neither])
    after = np.repeat([1, 0, 1, 0], [both, lost, gained, neither])
    return before.astype(float), after.astype(float)


def test_the_interval_of_classes_is_that_of_bonett_and_price() -> None:
    # n = 100, 10 lost and 4 gained: (5 - 11) / 102 and its deviation by hand.
    found = paired_difference(*classes(80, 10, 4, 6))
    centre = (5 - 11) / 102
    half = 1.959963985 * math.sqrt((16 / 102 - centre**2) / 102)
    assert (centre - half, centre + half) == pytest.approx((found.low, found.high))
    assert -0.06 == pytest.approx(found.difference)
    assert (0.9, 0.84) == pytest.approx((found.before, found.after))


def test_two_models_that_never_differ_still_have_an_interval() -> None:
    found = paired_difference(*classes(36, 0, 0, 0))
    # (1 - 1) / 38 +- 1.96 sqrt(2 / 38 / 38)
    assert -1.959963985 * math.sqrt(2) / 38 == pytest.approx(found.low)
    assert found.difference == 0 and found.high == -found.low


def test_the_interval_of_numbers_is_students_t() -> None:
    # Differences 1, 2, 3: mean 2, deviation 1, t(0.975, 2) = 4.302653.
    found = paired_difference(np.array([0.5, 0.5, 0.5]), np.array([1.5, 2.5, 3.5]))
    assert (2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)) == pytest.approx((found.low, found.high))


def test_the_interval_covers_the_true_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    share = 0
    for _ in range(2000):
        before = (rng.random(60) < 0.9).astype(float)
        flip = rng.random(60)
        after = np.where(before == 1, flip > 0.05, flip < 0.2).astype(float)  # 0.9 * 0.95 + 0.1 * 0.2 = 0.875
        found = paired_difference(before, after)
        share += found.low <= 0.875 - 0.9 <= found.high
    assert 0.94 <= share / 2000 <= 0.995


@pytest.mark.parametrize(
    ("counts", "least", "verdict"),
    [
        ((200, 0, 0, 0), -0.05, "passed"),
        ((36, 0, 0, 0), -0.05, "undecided"),  # the interval reaches -0.073
        ((80, 10, 0, 10), -0.05, "rejected"),
        ((0, 0, 50, 0), 0.1, "passed"),
        ((50, 0, 0, 50), 0.0, "rejected"),  # no gain at all
        ((10, 1, 3, 10), 0.0, "undecided"),
    ],
)
def test_a_condition_passes_by_the_worse_end_of_its_interval(
    counts: tuple[int, int, int, int], least: float, verdict: str
) -> None:
    assert verdict == score_condition("gain", paired_difference(*classes(*counts)), least).verdict


def test_the_number_that_would_decide_does() -> None:
    condition = score_condition("forgetting", paired_difference(*classes(36, 0, 0, 0)), -0.05)
    # (1.96 * sqrt(2 / 38) / 0.05)^2 with the deviation of 36 rows; with as many rows the interval is narrower still.
    assert math.ceil((1.959963985 * math.sqrt(2 / 38) / 0.05) ** 2) == condition.needed
    assert condition.needed is not None
    assert (
        "passed" == score_condition("forgetting", paired_difference(*classes(condition.needed, 0, 0, 0)), -0.05).verdict
    )
    assert f"about {condition.needed} would" in condition.reason


def test_one_sample_of_a_number_decides_nothing() -> None:
    condition = score_condition("gain", paired_difference(np.array([1.0]), np.array([2.5])), 0.0)
    assert "undecided" == condition.verdict


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "undecided"], "undecided"),
        (["undecided", "rejected", "passed"], "rejected"),
    ],
)
def test_every_condition_must_hold(verdicts: list[str], expected: str) -> None:
    conditions = [GateCondition(name="", verdict=v, value=0, limit=0, reason="") for v in verdicts]  # type: ignore[arg-type]
    assert expected == overall_verdict(conditions)


@pytest.mark.parametrize("counts", [(1, 0, 0, 1), (0, 1, 0, 1), (2, 0, 0, 0), (5, 1, 0, 4)])
@pytest.mark.parametrize("least", [0.0, -0.05])
def test_a_handful_of_samples_rejects_nothing(counts: tuple[int, int, int, int], least: float) -> None:
    condition = score_condition("gain", paired_difference(*classes(*counts)), least)
    assert "undecided" == condition.verdict
    assert "more samples are not expected" not in condition.reason


def test_few_samples_reject_where_the_whole_interval_does() -> None:
    assert "rejected" == score_condition("forgetting", paired_difference(*classes(0, 20, 0, 0)), -0.05).verdict
