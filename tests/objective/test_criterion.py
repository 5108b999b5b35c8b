"""Conditions of success, as people write them."""

from __future__ import annotations

import pytest

from rlcl.errors import Problem
from rlcl.objective import Criterion
from rlcl.statistics.intervals import SeedSummary

WRITTEN = [
    ("accuracy.average >= 0.85", Criterion("accuracy.average", ">=", 0.85)),
    ("accuracy[2]>=.8", Criterion("accuracy", ">=", 0.8, 2)),
    ("squared_error[each] <= 1e-2", Criterion("squared_error", "<=", 0.01, "each")),
    ("forgetting.chaudhry < 0.1 (interval)", Criterion("forgetting.chaudhry", "<", 0.1, None, interval=True)),
    ("return.average >= -1_000_000", Criterion("return.average", ">=", -1_000_000.0)),
    ("steps < 1_234_567.5", Criterion("steps", "<", 1_234_567.5)),
    ("a > 1_0.2_5e-1", Criterion("a", ">", 1.025)),
    (" accuracy[10] > 0.5 (interval) ", Criterion("accuracy", ">", 0.5, 10, interval=True)),
]


@pytest.mark.parametrize(("text", "criterion"), WRITTEN, ids=[text for text, _ in WRITTEN])
def test_forms(text: str, criterion: Criterion) -> None:
    assert criterion == Criterion.parse(text)
    assert criterion == Criterion.parse(str(criterion))


@pytest.mark.parametrize(
    "text", ["a >= b", "a => 1", ">= 1", "a >= 1 and b > 2", "a >= 1e", "a[-1] >= 1", "a[b] >= 1", "a == 1 (interval)",
             "a >= 1 interval", "a >= 1 (mean)", "a >= _1", "a >= 1_e"]
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(Problem, match="expected a comparison such as"):
        Criterion.parse(text)


@pytest.mark.parametrize(("comparison", "judged"), [(">=", 0.7), (">", 0.7), ("<=", 0.9), ("<", 0.9)])
def test_an_interval_is_judged_by_its_worse_end(comparison: str, judged: float) -> None:
    assert judged == Criterion("a", comparison, 0.5, interval=True).judged_value(SeedSummary(0.8, 0.7, 0.9, 3))
    assert 0.8 == Criterion("a", comparison, 0.5).judged_value(SeedSummary(0.8, 0.7, 0.9, 3))


@pytest.mark.parametrize(("comparison", "worst"), [(">=", 0.1), ("<", 0.9), ("==", 0.1)])
def test_the_worst_value_is_the_farthest_from_meeting_it(comparison: str, worst: float) -> None:
    assert worst == Criterion("a", comparison, 0.8).worst((0.7, 0.1, 0.9))
