"""Whether an objective was reached, by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from rlcl.objective import (
    ConditionVerdict,
    Constraints,
    Objective,
    SeedResult,
    Verdict,
    format_amount,
    judge_objective,
    objective_of,
)
from rlcl.types import Record

# 0.9 in the mean; Student's t at 97.5 % with two degrees of freedom is 4.30265, and the spread is 0.1.
SEEDS = [SeedResult({"accuracy.average": value}) for value in (0.8, 0.9, 1.0)]
HALF = 4.30265 * 0.1 / math.sqrt(3)


def judged(condition: str, results: list[SeedResult]) -> ConditionVerdict:
    (judgement,) = judge_objective(Objective(success=(condition,)), results).conditions
    return judgement


def test_the_mean_over_seeds_is_judged() -> None:
    found = judged("accuracy.average >= 0.9", SEEDS)
    assert ("met", "") == (found.status, found.reason)
    assert pytest.approx((0.9, 0.9 - HALF, 0.9 + HALF), abs=1e-6) == (found.value, found.low, found.high)
    assert "not met" == judged("accuracy.average >= 0.91", SEEDS).status


def test_the_worse_end_of_the_interval_is_judged_where_it_is_asked() -> None:
    assert "met" == judged("accuracy.average >= 0.65 (interval)", SEEDS).status
    found = judged("accuracy.average >= 0.66 (interval)", SEEDS)
    assert "not met" == found.status
    assert "judged by the lower bound of the 95 % interval over seeds, 0.6516" == found.reason
    assert "not met" == judged("accuracy.average <= 1.0 (interval)", SEEDS).status


def test_one_seed_has_no_interval() -> None:
    found = judged("accuracy.average >= 0.5 (interval)", SEEDS[:1])
    assert ("undecided", 0.8, "one seed has no interval; add seeds") == (found.status, found.value, found.reason)


def test_what_a_seed_lacks_is_undecided() -> None:
    assert "the run does not define it" == judged("forgetting.cw <= 0.1", SEEDS).reason
    mixed = [*SEEDS, SeedResult({"forgetting.cw": 0.0})]
    assert "the run does not define it, in 3 of 4 seeds" == judged("forgetting.cw <= 0.1", mixed).reason
    assert "no seed has finished" == judged("accuracy.average >= 0.5", []).reason


def records(*rows: tuple[int, int, str, float]) -> list[Record]:
    return [Record("", 0, t + 1, t, j, name, value) for t, j, name, value in rows]


def test_an_experience_is_judged_after_all_training_as_it_was_recorded() -> None:
    rows = [(t, j, "squared_error", 1.0 + j + 10 * (1 - t)) for t in (0, 1) for j in (0, 1)]
    result = SeedResult.of(records(*rows), ("squared_error",), {}, {})
    assert {"squared_error": (1.0, 2.0)} == result.final
    assert 2.0 == judged("squared_error[1] <= 2", [result]).value
    assert ("not met", 2.0) == ((found := judged("squared_error[each] <= 1.5", [result])).status, found.value)


def test_an_experience_that_was_not_evaluated_in_the_end_is_undecided() -> None:
    result = SeedResult.of(records((0, 0, "accuracy", 0.9), (1, 1, "accuracy", 0.8)), ("accuracy",), {}, {})
    assert "met" == judged("accuracy[1] >= 0.8", [result]).status
    for condition in ("accuracy[0] >= 0.8", "accuracy[each] >= 0.1", "accuracy[5] >= 0.1"):
        assert "it was not measured at the end" == judged(condition, [result]).reason


def test_a_constraint_holds_for_the_seed_that_needs_most() -> None:
    asked = Objective(constraints=Constraints(minutes=2, memory_mib=100, parameters=20, latency_ms=1))
    summaries: list[dict[str, Any]] = [
        {"seconds": 60.0, "peak_memory_bytes": 50 * 2**20, "latency_ms": 0.5},
        {"seconds": 180.0, "peak_memory_bytes": 100 * 2**20, "latency_ms": 0.25},
    ]
    grown = records((0, 0, "parameters", 10), (1, 1, "parameters", 30))
    found = judge_objective(asked, [SeedResult.of(grown, (), {}, summary) for summary in summaries])
    assert [("minutes <= 2", 3.0, "not met"), ("memory_mib <= 100", 100.0, "met"),
            ("parameters <= 20", 30.0, "not met"), ("latency_ms <= 1", 0.5, "met")] == [
        (j.condition, j.value, j.status) for j in found.conditions]  # fmt: skip
    unknown = judge_objective(asked, [SeedResult.of((), (), {}, summaries[0]), SeedResult.of((), (), {}, {})])
    assert {"undecided"} == {j.status for j in unknown.conditions}
    assert "the learner does not report its parameters" == unknown.conditions[2].reason


@pytest.mark.parametrize(
    ("each", "said"),
    [("met met", "met"), ("met undecided", "undecided"), ("met undecided not_met", "not met"), ("", "undecided")],
)
def test_the_whole(each: str, said: str) -> None:
    judgements = tuple(ConditionVerdict("a > 1", None, None, None, word.replace("_", " ")) for word in each.split())  # type: ignore[arg-type]
    assert said == Verdict(judgements, 1).status


def test_a_verdict_is_text_and_json() -> None:
    asked = Objective(success=("accuracy.average >= 0.9",), constraints=Constraints(parameters=100_000))
    found = judge_objective(asked, [SeedResult({"accuracy.average": 0.95}, {}, {"parameters": 85_002.0})])
    assert (
        "objective met (1 seed)\n- met: accuracy.average >= 0.9 (0.950)\n- met: parameters <= 100,000 (85,002)"
    ) == str(found)
    written = json.loads(json.dumps(found.as_json, allow_nan=False))
    assert ("met", 1) == (written["said"], written["seeds"])
    assert {"condition": "accuracy.average >= 0.9", "value": 0.95, "low": None, "high": None, "said": "met",
            "reason": ""} == written["judgements"][0]  # fmt: skip


def test_what_a_config_states_is_read_again() -> None:
    config = {"objective": {"success": ["a > 1"], "constraints": {"minutes": 2}, "out_of_scope": ["money"]}}
    found = objective_of(config)
    assert (("a > 1",), {"minutes": 2}, ("money",)) == (found.success, found.constraints.limits, found.out_of_scope)
    assert (
        Objective()
        == objective_of({})
        == objective_of({"objective": {"success": "x", "what": 1}})
        == objective_of({"objective": None})
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (0.0021, "0.0021"), (0.95, "0.950"), (43.71, "43.7"), (610, "610"), (85002, "85,002")],
)
def test_amounts(value: float, text: str) -> None:
    assert text == format_amount(value)
