"""What is foreseen of an objective before anything long runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from rlcl.errors import ConfigError
from rlcl.experiment import experiment_from
from rlcl.launch.build import make_trainer
from rlcl.launch.estimate import Estimate
from rlcl.launch.feasibility import Forecast, forecasts, needed_share, planned_records
from rlcl.training.trainer import Trainer

FOUND = Estimate("", 100, 10.0, 0.1, 90.0, 300 * 2**20, latency_ms=0.5)


def built(success: list[str], more: dict[str, Any] | None = None, **objective: Any) -> tuple[Any, Trainer]:
    plain = {
        "name": "x",
        "objective": {"success": success, **objective},
        "stream": {"type": "class_incremental", "experiences": 2},
        "learner": {"type": "classifier", "network": {"type": "mlp", "hidden": [8]}},
        "budget": {"epochs": 1},
    }
    experiment = experiment_from({**plain, **(more or {})})
    return experiment, make_trainer(experiment, 0)


def foreseen(success: str, **more: Any) -> Forecast:
    (told,) = forecasts(*built([success], more), FOUND)
    return told


@pytest.mark.parametrize(
    ("success", "more", "told"),
    [
        ("accuracy.average >= 0.5", {}, None),
        ("accuracy[0] >= 0.5", {"evaluation": {"on": "current"}}, "cannot be decided by 2 experiences, evaluated on "
         "current at each boundary, and before training: it was not measured at the end; evaluate more"),
        ("accuracy[1] >= 0.5", {"evaluation": {"on": "current"}}, None),
        ("accuracy[each] >= 0.5", {"evaluation": {"every": "end"}}, None),
        ("forgetting.chaudhry <= 0.5", {}, None),
        ("forgetting.chaudhry <= 0.5", {"evaluation": {"every": "end"}}, "at the end, and before training: "),
        ("forward_transfer.gem >= 0.5", {}, None),
        ("forward_transfer.gem >= 0.5", {"evaluation": {"before": False}}, "not before training: the run does not"),
        ("accuracy.online >= 0.5", {}, "set evaluation.online"),
        ("accuracy.online >= 0.5", {"evaluation": {"online": True}}, None),
        ("accuracy.average >= 0.5 (interval)", {}, "cannot be decided: one seed has no interval; add seeds"),
        ("accuracy.average >= 85", {}, "cannot be met: accuracy.average lies between 0 and 1"),
        ("accuracy[0] == 2", {}, "cannot be met"),
        ("accuracy[0] == 0.5", {}, None),
        ("forgetting.chaudhry <= -1.5", {}, "cannot be met: forgetting.chaudhry lies between -1 and 1"),
    ],
)  # fmt: skip
def test_what_no_record_can_decide_or_meet(success: str, more: dict[str, Any], told: str | None) -> None:
    found = foreseen(success, **more)
    assert "objective.success[0]" == found.where
    assert (
        ("good", True) == (found.level, True)
        if told is None
        else ("fault", True) == (found.level, told in found.message)
    )


def test_a_loss_that_is_always_low_enough_is_told() -> None:
    data = {"type": "single", "data": "diabetes"}
    more = {"stream": data, "learner": {"type": "regressor", "network": {"type": "mlp", "hidden": [8]}}}
    found = foreseen("squared_error.average <= 0.1", **more)
    assert "remark" == found.level
    assert (
        "is always met: squared_error.average lies between -inf and 0 (a loss enters metrics negated)" == found.message
    )
    assert "good" == foreseen("squared_error[0] <= 0.1", **more).level


def test_the_range_of_a_metric_of_the_user_s_is_known(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from rlcl.evaluation.metrics import Metric\n"
        "LOST = Metric('lost', lambda results: 0.5, better='lower', range=(0.0, 1.0))\n"
    )
    more = {"evaluation": {"metrics": [f"{tmp_path / 'own.py'}:LOST"]}}
    assert "good" == foreseen("lost <= 0.5", **more).level
    assert "cannot be met: lost lies between 0 and 1" == foreseen("lost <= -0.5", **more).message
    assert "is always met: lost lies between 0 and 1" == foreseen("lost <= 1", **more).message


def test_the_share_that_a_wilson_interval_needs() -> None:
    # Wilson's lower end of 9 of 10 is (0.9 + z2 / 20 - z sqrt(0.009 + z2 / 400)) / (1 + z2 / 10) = 0.5958, z2 = 3.8415.
    z2, n = 1.959964**2, 10
    low = (0.9 + z2 / 20 - math.sqrt(z2 * (0.9 * 0.1 / n + z2 / 400))) / (1 + z2 / n)
    assert pytest.approx(0.59585, abs=1e-5) == low
    assert pytest.approx(0.9) == needed_share(low, n)


def test_test_data_that_are_too_few_for_the_interval_asked() -> None:
    # Two experiences of 178 and 177 digits; 99 % of 177 is sure from 380.3 on: 0.99 z2 / 0.01.
    found = foreseen("accuracy[1] >= 0.99 (interval)", seeds=[0, 1])
    assert "fault" == found.level
    assert "test samples are too few" in found.message
    assert "use at least 381" in found.message
    enough = foreseen("accuracy[1] >= 0.9 (interval)", seeds=[0, 1])
    (experience,) = built(["accuracy[1] >= 0"])[1].stream.evaluated[1:]
    share = 0.9 + 1.959964 * math.sqrt(0.9 * 0.1 / len(experience.test))  # type: ignore[arg-type]
    assert "remark" == enough.level
    assert f"a share of at least {share:.3f} would be certain" in enough.message
    both = foreseen("accuracy.average <= 0.1 (interval)", seeds=[0, 1]).message
    assert both.startswith("with 355 test samples, a share of at most 0.069 would")  # 0.1 - 1.96 * sqrt(0.09 / 355)


def test_constraints_beside_the_estimate() -> None:
    limits = {"minutes": 1, "memory_mib": 400, "parameters": 100, "latency_ms": 0.4}
    told = forecasts(*built([], None, constraints=limits), FOUND)
    assert [
        ("objective.constraints.minutes", "minutes <= 1", "fault"),
        ("objective.constraints.memory_mib", "memory_mib <= 400", "good"),
        ("objective.constraints.parameters", "parameters <= 100", "fault"),
        ("objective.constraints.latency_ms", "latency_ms <= 0.4", "fault"),
    ] == [(f.where, f.condition, f.level) for f in told]
    assert "about 1.500 expected; reduce the budget or evaluate less, or raise the limit" == told[0].message
    assert "about 610 expected" in told[2].message  # 64 * 8 + 8, and 8 * 10 + 10


def test_what_the_estimate_does_not_know_is_said() -> None:
    unknown = Estimate("", None, 10.0, 0.1, None, 2**20)
    told = forecasts(*built([], None, constraints={"minutes": 1, "latency_ms": 1}), unknown)
    assert ["not known before the run"] * 2 == [f.message for f in told]


def test_planned_records_are_those_of_the_run() -> None:
    more = {"evaluation": {"on": "seen", "online": True}}
    planned = planned_records(built([], more)[1])
    run = built([], more)[1].fit().records
    costs = {"parameters", "memory_bytes", "updates", "samples"}  # of a learner that earns no rewards
    expected = {(r.trained_on, r.evaluated_on, r.metric) for r in run if r.metric not in costs}
    assert expected == {(r.trained_on, r.evaluated_on, r.metric) for r in planned}


@pytest.mark.parametrize(
    ("success", "message"),
    [
        ("acuracy.average >= 0.5", r"objective\.success\[0\]: no metric 'acuracy\.average'; did you mean accuracy\.av"),
        ("acuracy[0] >= 0.5", r"objective\.success\[0\]: no measure 'acuracy'; did you mean accuracy\?"),
        ("accuracy[2] >= 0.5", r"objective\.success\[0\]: no experience 2 to evaluate; there are 2, counted from 0"),
    ],
)
def test_what_there_is_not_is_refused_by_a_run_too(success: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built([success])
