"""Every metric of R, with numbers worked out by hand.

The matrix used most has three experiences and was evaluated before training::

    before   0.2  0.1  0.3
    R[0]     0.9  0.2  0.4
    R[1]     0.6  0.8  0.5
    R[2]     0.5  0.7  1.0
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from rlcl.errors import Problem
from rlcl.evaluation import MEASURES, METRICS
from rlcl.evaluation.metric_meaning import MetricMeaning, meanings_in
from rlcl.evaluation.metrics import Metric
from rlcl.evaluation.results import (
    Results,
    meanings,
    measure_named,
    metric_named,
    metrics,
    pooled_metrics,
    undefined_metrics,
)
from rlcl.registry import find
from rlcl.types import Record

NAN = float("nan")
REFERENCE = (Path(__file__).parents[2] / "docs/reference/metrics.md").read_text(encoding="utf-8")
BEFORE = (0.2, 0.1, 0.3)
R = ((0.9, 0.2, 0.4), (0.6, 0.8, 0.5), (0.5, 0.7, 1.0))


def record(step: int, trained_on: int, evaluated_on: int, value: float, metric: str = "accuracy") -> Record:
    return Record("run", 0, step, trained_on, evaluated_on, metric, value)


def records_of(
    matrix: Sequence[Sequence[float]], before: Sequence[float] = (), metric: str = "accuracy"
) -> list[Record]:
    """One record a cell that is not NaN; experience t is trained on for 10 updates."""
    rows = [record(0, -1, j, value, metric) for j, value in enumerate(before)]
    rows += [record(10 * (t + 1), t, j, v, metric) for t, row in enumerate(matrix) for j, v in enumerate(row)]
    return [row for row in rows if not np.isnan(row.value)]


def computed(name: str, matrix: Sequence[Sequence[float]] = R, before: Sequence[float] = BEFORE) -> float | None:
    value: float | None = find("metric", name)(Results(records_of(matrix, before), "accuracy"))
    return value


VISITS = (0, 1, 0, 2)  # of tasks a, b, a, c
REPEATED = ((0.9, 0.2, 0.4), (0.6, 0.8, 0.5), (0.8, 0.7, 0.5), (0.5, 0.6, 1.0))


# Of the last evaluation of each task: alone, and after joint training on it and the tasks before it.
SINGLE_TASK = (0.8, 0.9, 0.7)
JOINT = (0.95, 0.9, 1.0)


def visited(name: str, visits: Sequence[int], matrix: Sequence[Sequence[float]]) -> float | None:
    tasks = [record(10 * (t + 1), t, t, task, "task") for t, task in enumerate(visits)]
    baselines = [
        record(10, j, j, value, f"{kind}.accuracy")
        for kind, values in (("single_task", SINGLE_TASK), ("joint", JOINT))
        for j, value in enumerate(values)
    ]
    value: float | None = find("metric", name)(Results([*records_of(matrix, BEFORE), *tasks, *baselines], "accuracy"))
    return value


def scaled(value: float, low: float, high: float) -> float:
    """A performance as l2metrics scales it."""
    return 1 + 100 * (value - low) / (high - low)


# The matrix with the scales of l2metrics: a from 0.2 to 0.9, b from 0.1 to 0.9, c from 0.3 to 1.0.
A = {value: scaled(value, 0.2, 0.9) for value in (0.2, 0.5, 0.6, 0.8, 0.9)}
B = {value: scaled(value, 0.1, 0.9) for value in (0.1, 0.2, 0.6, 0.7, 0.8, 0.9)}
C = {value: scaled(value, 0.3, 1.0) for value in (0.3, 0.4, 0.5, 0.7, 1.0)}


@pytest.mark.parametrize(("name", "expected"), [
    ("average", (0.5 + 0.6 + 1.0) / 3),
    # Tasks visited so far: a; a, b; a, b; a, b, c.
    ("incremental", (0.9 + (0.6 + 0.8) / 2 + (0.8 + 0.7) / 2 + (0.5 + 0.6 + 1.0) / 3) / 4),
    # At the end of the last visits: a in row 2, b in row 1, c in row 3.
    ("learning", (0.8 + 0.8 + 1.0) / 3),
    # Last row less that, without c, whose last visit ends the stream.
    ("backward_transfer", ((0.5 - 0.8) + (0.6 - 0.8)) / 2),
    # Before the first visits of b (row 0) and c (row 2).
    ("forward_transfer.gem", ((0.2 - 0.1) + (0.5 - 0.3)) / 2),
    # The best of rows 0 to 2 less the last row.
    ("forgetting.chaudhry", ((0.9 - 0.5) + (0.8 - 0.6)) / 2),
    ("forgetting.cw", ((0.8 - 0.5) + (0.8 - 0.6) + 0) / 3),
    # The first cycle is a, b, and c is not in it.
    ("forgetting.cora", None),
    ("forward_transfer.cora", None),
    # After the last visits: a 0.5; b 0.7 and 0.6.
    ("min", (0.5 + 0.6) / 2),
    ("worst_case", 1.0 / 3 + (2 / 3) * (0.5 + 0.6) / 2),
    # a in rows 0 and 1, b in rows 1 and 2, a in rows 2 and 3.
    ("backward_transfer.one_step", ((0.6 - 0.9) + (0.7 - 0.8) + (0.5 - 0.8)) / 3),
    ("intransigence", ((0.95 - 0.8) + (0.9 - 0.8) + (1.0 - 1.0)) / 3),
    ("performance.cw", (0.5 + 0.6 + 1.0) / 3),
    # At the ends of the first visits, relative to the tasks alone.
    ("forward_transfer.cw", ((0.9 - 0.8) / 0.2 + (0.8 - 0.9) / 0.1 + (1.0 - 0.7) / 0.3) / 3),
    ("forward_transfer.cw_seed", (0.5 - 1 + 1) / 3),
    # The tasks visited up to each row.
    ("performance.coom", (0.9 + (0.6 + 0.8) + (0.8 + 0.7) + (0.5 + 0.6 + 1.0)) / 8),
    ("forgetting.coom", ((0.8 - 0.5) + (0.8 - 0.6)) / 2),
    ("forward_transfer.coom", ((0.9 + 0.8 + 1.0) / 3 - 0.8) / (1 - 0.8)),
    # a in row 1 since row 0, and in row 3 since row 2; b in rows 2 and 3 since row 1.
    ("l2m.performance_maintenance",
     ((A[0.6] - A[0.9] + A[0.5] - A[0.8]) / 2 + (B[0.7] - B[0.8] + B[0.6] - B[0.8]) / 2) / 2),
    # a to b and to c in row 0, b to c in row 1.
    ("l2m.forward_transfer_ratio", (B[0.2] / B[0.1] + C[0.4] / C[0.3] + C[0.5] / C[0.4]) / 3),
    ("l2m.forward_transfer_contrast",
     ((B[0.2] - B[0.1]) / (B[0.2] + B[0.1]) + (C[0.4] - C[0.3]) / (C[0.4] + C[0.3])
      + (C[0.5] - C[0.4]) / (C[0.5] + C[0.4])) / 3),
    # a to b in row 2, b to a in row 1, c to a and to b in row 3.
    ("l2m.backward_transfer_ratio", (B[0.7] / B[0.8] + A[0.6] / A[0.9] + A[0.5] / A[0.8] + B[0.6] / B[0.7]) / 4),
    # The first evaluation in each first visit, relative to the task alone.
    ("l2m.relative_performance", (A[0.9] / A[0.8] + B[0.8] / B[0.9] + C[1.0] / C[0.7]) / 3),
    ("l2m.sample_efficiency", None),  # a curve of one evaluation
    ("l2m.performance_recovery", None),  # a is visited twice
    ("return.lifetime", None),
    ("regret", None),
])  # fmt: skip
def test_tasks_that_are_visited_again(name: str, expected: float | None) -> None:
    value = visited(name, VISITS, REPEATED)
    assert value == (None if expected is None else pytest.approx(expected))


def curves(values: Sequence[Sequence[float]], baselines: Sequence[Sequence[float]] = ()) -> list[Record]:
    """Evaluations of task t during training on experience t, one every 10 updates, and those of the tasks alone."""
    rows = [record(100 * t + 10 * (i + 1), t, t, v) for t, row in enumerate(values) for i, v in enumerate(row)]
    for j, row in enumerate(baselines):
        rows += [record(10 * (i + 1), j, j, v, "single_task.accuracy") for i, v in enumerate(row)]
    return rows


def test_continual_world_takes_the_mean_of_the_last_five_evaluations() -> None:
    rows = curves([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [0.0, 0.6, 0.7, 0.8, 0.9, 1.0]])
    rows += [record(100 + 10 * (i + 1), 1, 0, v) for i, v in enumerate((0.5, 0.1, 0.1, 0.1, 0.1, 0.1))]
    results = Results(rows, "accuracy")
    assert find("metric", "performance.cw")(results) == pytest.approx((0.1 + 0.8) / 2)
    assert find("metric", "forgetting.cw")(results) == pytest.approx((0.3 - 0.1 + 0) / 2)
    # COOM takes ten.
    assert find("metric", "forgetting.coom")(results) == pytest.approx(0.25 - 1.0 / 6)
    assert find("metric", "performance.coom")(results) == pytest.approx((0.25 + 1.0 / 6 + 4.0 / 6) / 3)


def test_forward_transfer_of_continual_world_is_a_ratio_of_means_over_seeds() -> None:
    seeds = [curves([[0.2, 0.4]], [[0.1, 0.3]]), curves([[0.6, 0.8]], [[0.5, 0.7]])]
    metric, per_seed = metric_named("forward_transfer.cw"), metric_named("forward_transfer.cw_seed")
    results = [Results(rows, "accuracy") for rows in seeds]
    assert metric.pooling is not None
    summary = metric.pooling.summary(results)
    assert summary.mean == pytest.approx((0.5 - 0.4) / (1 - 0.4))
    assert [0.1 / 0.8, 0.1 / 0.4] == pytest.approx([per_seed(r) for r in results])
    assert summary.mean != pytest.approx(np.mean([per_seed(r) for r in results]))
    # Seeds are resampled: the areas are 0.3 or 0.7, and those of the baselines 0.2 or 0.6, separately.
    assert summary.low == pytest.approx((0.3 - 0.6) / 0.4)
    assert summary.high == pytest.approx((0.7 - 0.2) / 0.8)
    assert {"forward_transfer.cw": summary} == pooled_metrics(seeds, ["accuracy"], ["forward_transfer.cw"])
    assert {} == pooled_metrics(seeds, ["accuracy"])  # only if it is requested
    assert "forward_transfer.cw" not in metrics(seeds[0], ["accuracy"], ["*.cw"])


def test_forward_transfer_is_not_defined_beside_a_perfect_baseline() -> None:
    results = Results(curves([[0.5]], [[1.0]]), "accuracy")
    for name in ("forward_transfer.cw", "forward_transfer.cw_seed", "forward_transfer.coom"):
        assert "is 1" in (metric_named(name).undefined(results) or "") or "are 1" in (
            metric_named(name).undefined(results) or ""
        )


def test_scores_are_clipped_where_shares_are_needed() -> None:
    rows = [record(10, 0, 0, 3.0, "score"), record(20, 1, 0, -1.0, "score"), record(20, 1, 1, 0.5, "score")]
    results = Results(rows, "score")
    assert find("metric", "performance.cw")(results) == pytest.approx((0 + 0.5) / 2)
    assert find("metric", "forgetting.cw")(results) == pytest.approx((1 - 0) / 2)
    assert find("metric", "average")(results) == pytest.approx((-1 + 0.5) / 2)
    returns = Results([attrs.evolve(row, metric="return") for row in rows], "return")
    assert "outside of [0, 1]" in (metric_named("performance.cw").undefined(returns) or "")


def test_recovery_and_efficiency_of_l2m() -> None:
    # Evaluated 4 times a visit; the task is visited three times.
    visits = [[0.0, 0.2, 0.4, 0.6], [0.2, 0.3, 0.4, 0.7], [0.1, 0.8, 0.9, 1.0]]
    rows = [record(100 * t + 10 * (i + 1), t, 0, v) for t, row in enumerate(visits) for i, v in enumerate(row)]
    rows += [record(100 * (t + 1), t, t, 0, "task") for t in range(3)]
    rows += [record(10 * (i + 1), 0, 0, v, "single_task.accuracy") for i, v in enumerate((0.0, 0.5, 1.0))]
    results = Results(rows, "accuracy")
    # Terminal performances 0.6 and 0.7 are reached after 3 and 1 evaluations: the slope is -2.
    assert find("metric", "l2m.performance_recovery")(results) == pytest.approx(2.0)
    # All values are scaled by 0 to 1, so that 0 is 1. The first three evaluations count.
    assert find("metric", "l2m.relative_performance")(results) == pytest.approx((1 + 21 + 41) / (1 + 51 + 101))
    # The whole curve saturates at its last value, the 11th; its moving average is over 2 values, which is none.
    assert find("metric", "l2m.sample_efficiency")(results) == pytest.approx((101 / 101) * (2 / 11))


def test_curves_of_l2m_are_smoothed_over_a_fifth_of_their_values() -> None:
    from rlcl.evaluation.metrics.l2m import _smooth

    curve = np.arange(15.0)
    # Reflected at both ends: 2 1 | 0 ... 14 | 13 12, then the mean of 3 values, of which the first is dropped.
    assert list(_smooth(curve)) == pytest.approx([1.0, 2 / 3, *range(1, 14)])
    assert list(_smooth(curve[:14])) == list(curve[:14])


def test_rewards_of_the_whole_life_and_the_regret() -> None:
    rows = [record(10, 0, 0, 1.0, "return"), record(20, 1, 1, 1.0, "return"), record(10, 0, 1, 1.0, "return")]
    rows += [record(20, 1, 0, 1.0, "return")]
    rows += [record(10, 0, 0, 30.0, "reward"), record(20, 1, 1, 50.0, "reward")]
    rows += [record(10, 0, 0, 100, "samples"), record(20, 1, 1, 300, "samples")]
    results = Results(rows, "return")
    assert find("metric", "return.lifetime")(results) == pytest.approx(80 / 400)
    assert "single-task runs" in (metric_named("regret").undefined(results) or "")
    rows += [record(9, 0, 0, 60.0, "single_task.reward"), record(9, 1, 1, 40.0, "single_task.reward")]
    rows += [record(9, 0, 0, 100, "single_task.samples"), record(9, 1, 1, 300, "single_task.samples")]
    # 30 more on the first task, 10 less on the second.
    assert find("metric", "regret")(Results(rows, "return")) == pytest.approx((30 - 10) / 400)
    assert metrics(rows, ["return"])["regret"] == pytest.approx(0.05)


def test_coras_metrics_are_those_of_the_first_cycle_scaled_by_the_whole_run() -> None:
    matrix = ((0.9, 0.2, 0.4), (0.6, 0.8, 0.5), (0.5, 0.7, 1.0), (1.0, 0.1, 0.1), (0.2, 0.2, 0.2))
    forgotten = ((0.9 - 0.6) / 1.0 + (0.6 - 0.5) / 1.0 + (0.8 - 0.7) / 0.8) / 3
    transferred = ((0.2 - 0.1) / 0.8 + (0.4 - 0.3) / 1.0 + (0.5 - 0.4) / 1.0) / 3
    assert forgotten == pytest.approx(visited("forgetting.cora", (0, 1, 2, 0, 1), matrix))
    assert transferred == pytest.approx(visited("forward_transfer.cora", (0, 1, 2, 0, 1), matrix))


def test_the_order_of_the_tasks_does_not_change_what_they_are() -> None:
    swapped = [[row[1], row[0], row[2]] for row in R]
    before = [BEFORE[1], BEFORE[0], BEFORE[2]]
    tasks = [record(10 * (t + 1), t, t, task, "task") for t, task in enumerate((1, 0, 2))]
    for name in METRICS:
        value = find("metric", name)(Results([*records_of(swapped, before), *tasks], "accuracy"))
        assert value == (None if (same := computed(name)) is None else pytest.approx(same))


def test_a_visit_that_is_in_progress_leaves_the_metrics_undefined() -> None:
    rows = [*records_of(REPEATED, BEFORE), *(record(10, t, t, task, "task") for t, task in enumerate(VISITS[:3]))]
    assert Results(rows, "accuracy").visits == ()
    assert find("metric", "backward_transfer")(Results(rows, "accuracy")) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # The last row.
        ("average", (0.5 + 0.7 + 1.0) / 3),
        # Rows up to the diagonal: (0.9), (0.6, 0.8), (0.5, 0.7, 1.0).
        ("incremental", (0.9 + (0.6 + 0.8) / 2 + (0.5 + 0.7 + 1.0) / 3) / 3),
        # The diagonal.
        ("learning", (0.9 + 0.8 + 1.0) / 3),
        # Last row less the diagonal, without the last experience.
        ("backward_transfer", ((0.5 - 0.9) + (0.7 - 0.8)) / 2),
        # Above the diagonal less before, without the first experience.
        ("forward_transfer.gem", ((0.2 - 0.1) + (0.5 - 0.3)) / 2),
        # The best of rows 0 and 1 less the last row: column 0 has 0.9, column 1 has 0.8.
        ("forgetting.chaudhry", ((0.9 - 0.5) + (0.8 - 0.7)) / 2),
        # Diagonal less last row, the last experience's 0 included.
        ("forgetting.cw", ((0.9 - 0.5) + (0.8 - 0.7) + 0) / 3),
        # Pairs (experience i, trained on j > i): (0, 1), (0, 2), (1, 2); largest values 0.9 and 0.8.
        ("forgetting.cora", ((0.9 - 0.6) / 0.9 + (0.6 - 0.5) / 0.9 + (0.8 - 0.7) / 0.8) / 3),
        # Pairs (experience i, trained on j < i): (1, 0), (2, 0), (2, 1); largest values 0.8 and 1.0.
        ("forward_transfer.cora", ((0.2 - 0.1) / 0.8 + (0.4 - 0.3) / 1.0 + (0.5 - 0.4) / 1.0) / 3),
        # The least after their own training: 0.5 of (0.6, 0.5), and 0.7.
        ("min", (0.5 + 0.7) / 2),
        ("worst_case", 1.0 / 3 + (2 / 3) * (0.5 + 0.7) / 2),
    ],
)
def test_a_metric_equals_its_formula(name: str, expected: float) -> None:
    assert pytest.approx(expected, abs=1e-12) == computed(name)


def test_chaudhry_looks_for_the_maximum_before_an_experience_was_trained_on_too() -> None:
    # Experience 1 was best (0.9) after training on experience 0: 0.9 - 0.4, not 0.8 - 0.4.
    matrix = ((0.7, 0.9, 0.1), (0.7, 0.8, 0.1), (0.7, 0.4, 0.9))
    assert pytest.approx(((0.7 - 0.7) + (0.9 - 0.4)) / 2) == computed("forgetting.chaudhry", matrix)


def test_chaudhry_leaves_the_last_row_out_of_the_maximum() -> None:
    # Better in the end than ever before: forgetting is negative.
    assert pytest.approx(0.5 - 0.8) == computed("forgetting.chaudhry", ((0.5, 0.1), (0.8, 0.9)), ())


def test_rebuffi_and_the_average_of_averages_differ_in_their_weights() -> None:
    assert pytest.approx((1.0 + (0.0 + 0.5) / 2) / 2) == computed("incremental", ((1.0, 0.9), (0.0, 0.5)), ())


@pytest.mark.parametrize(
    "name",
    [
        "backward_transfer",
        "forward_transfer.gem",
        "forgetting.chaudhry",
        "forgetting.cw",
        "forgetting.cora",
        "forward_transfer.cora",
        "min",
        "worst_case",
    ],
)
def test_one_experience_has_no_forgetting_and_no_transfer(name: str) -> None:
    assert computed(name, ((0.9,),), (0.1,)) is None


@pytest.mark.parametrize("name", ["average", "incremental", "learning"])
def test_one_experience_has_an_average(name: str) -> None:
    assert pytest.approx(0.9) == computed(name, ((0.9,),), (0.1,))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_no_records_are_no_metric(name: str) -> None:
    assert find("metric", name)(Results((), "accuracy")) is None


@pytest.mark.parametrize("name", ["forward_transfer.gem"])
def test_transfer_needs_what_was_measured_before(name: str) -> None:
    assert computed(name, R, ()) is None


def test_cora_forward_transfer_without_a_measurement_before_keeps_the_pairs_that_are_known() -> None:
    # Only (2, 1) is left: trained on 1, between R[0] and R[1]; the largest of column 2 is 1.0.
    assert pytest.approx((0.5 - 0.4) / 1.0) == computed("forward_transfer.cora", R, ())


def test_more_columns_than_rows_have_an_average_alone() -> None:
    matrix = ((0.9, 0.5, 0.1),)  # joint training
    assert pytest.approx(0.5) == computed("average", matrix, ())
    assert [None] * (len(METRICS) - 1) == [computed(name, matrix, ()) for name in sorted(METRICS) if name != "average"]


SEEN = ((0.9, NAN, NAN), (0.6, 0.8, NAN), (0.5, 0.7, 1.0))  # evaluation.on: seen
CURRENT = ((0.9, NAN, NAN), (NAN, 0.8, NAN), (NAN, NAN, 1.0))  # evaluation.on: current
END = ((NAN, NAN, NAN), (NAN, NAN, NAN), (0.5, 0.7, 1.0))  # evaluation.every: end


@pytest.mark.parametrize(
    ("name", "matrix", "expected"),
    [
        ("average", SEEN, (0.5 + 0.7 + 1.0) / 3),
        ("incremental", SEEN, (0.9 + 0.7 + 2.2 / 3) / 3),
        ("backward_transfer", SEEN, (-0.4 - 0.1) / 2),
        ("forward_transfer.gem", SEEN, None),
        ("forgetting.chaudhry", SEEN, (0.4 + 0.1) / 2),
        ("forgetting.cw", SEEN, (0.4 + 0.1 + 0) / 3),
        ("forgetting.cora", SEEN, (0.3 / 0.9 + 0.1 / 0.9 + 0.1 / 0.8) / 3),
        ("forward_transfer.cora", SEEN, None),
        ("min", SEEN, (0.5 + 0.7) / 2),
        ("average", CURRENT, None),
        ("learning", CURRENT, (0.9 + 0.8 + 1.0) / 3),
        ("backward_transfer", CURRENT, None),
        ("forgetting.chaudhry", CURRENT, None),
        ("forgetting.cw", CURRENT, None),
        ("forgetting.cora", CURRENT, None),
        ("min", CURRENT, None),
        ("worst_case", CURRENT, None),
        ("average", END, (0.5 + 0.7 + 1.0) / 3),
        ("backward_transfer", END, None),
        ("forgetting.chaudhry", END, None),
        ("forgetting.cw", END, None),
        ("forgetting.cora", END, None),
    ],
)
def test_a_cell_that_was_not_measured_is_left_out(
    name: str, matrix: Sequence[Sequence[float]], expected: float | None
) -> None:
    actual = computed(name, matrix, ())
    assert (expected is None) == (actual is None)
    assert expected is None or pytest.approx(expected) == actual


def test_continual_worlds_forgetting_is_for_performances_between_0_and_1() -> None:
    assert computed("forgetting.cw", ((200.0, 10.0), (150.0, 190.0)), ()) is None


def test_cora_divides_by_the_largest_magnitude() -> None:
    # Returns are negative: |r_0| is at most 400, before training.
    matrix, before = ((-100.0, -350.0), (-300.0, -90.0)), (-400.0, -500.0)
    assert pytest.approx((-100 - -300) / 400) == computed("forgetting.cora", matrix, before)
    assert pytest.approx((-350 - -500) / 500) == computed("forward_transfer.cora", matrix, before)


def test_cora_leaves_out_an_experience_that_is_always_0() -> None:
    matrix = ((0.0, 0.1, 0.0), (0.0, 0.8, 0.0), (0.0, 0.6, 0.9))
    assert pytest.approx((0.8 - 0.6) / 0.8) == computed("forgetting.cora", matrix, ())


def test_the_minimum_sees_evaluations_within_later_experiences() -> None:
    # While experience 1 is trained on, experience 0 falls to 0.1 and comes back: the stability gap.
    gap = [record(12, 1, 0, 0.1), record(15, 1, 0, 0.3)]
    results = Results(records_of(R, BEFORE) + gap, "accuracy")
    low = (0.1 + 0.7) / 2
    assert pytest.approx(low) == find("metric", "min")(results)
    assert pytest.approx(1.0 / 3 + 2 / 3 * low) == find("metric", "worst_case")(results)


def test_the_minimum_passes_over_an_experiences_own_training_and_what_came_before_it() -> None:
    early = [record(5, 0, 0, 0.0), record(3, 0, 1, 0.0), record(15, 1, 1, 0.05)]
    assert pytest.approx((0.5 + 0.7) / 2) == find("metric", "min")(Results(records_of(R) + early, "accuracy"))


def test_r_is_what_was_measured_last_of_a_cell_in_whatever_order_records_come() -> None:
    results = Results([record(20, 1, 0, 0.6), record(10, 0, 0, 0.9), record(5, 0, 0, 0.4)], "accuracy")
    assert [[0.9], [0.6]] == results.R.tolist()


def test_before_is_kept_apart_from_the_last_row() -> None:
    results = Results(records_of(R, BEFORE), "accuracy")
    assert list(BEFORE) == results.before.tolist()
    assert [list(row) for row in R] == results.R.tolist()


def test_a_loss_enters_negated() -> None:
    rows = records_of(((1.0, 4.0), (3.0, 2.0)), (5.0, 6.0), "reconstruction_error")
    results = Results(rows, "reconstruction_error")
    assert [[-1.0, -4.0], [-3.0, -2.0]] == results.R.tolist()
    assert [-5.0, -6.0] == results.before.tolist()
    assert pytest.approx(-3.0 - -1.0) == find("metric", "backward_transfer")(results)
    assert pytest.approx(-1.0 - -3.0) == find("metric", "forgetting.chaudhry")(results)
    assert pytest.approx(-3.0) == find("metric", "min")(results)


def test_records_of_other_measures_are_passed_over() -> None:
    rows = records_of(((0.9,),)) + records_of(((0.1,),), metric="linear_probe")
    assert [[0.9]] == Results(rows, "accuracy").R.tolist()


@pytest.mark.parametrize("name", sorted(METRICS))
@pytest.mark.parametrize("experiences", [1, 2, 5])
def test_every_metric_gives_a_number_or_nothing(name: str, experiences: int) -> None:
    rng = np.random.default_rng(experiences)
    for holes in (0.0, 0.3, 0.9):
        matrix = rng.random((experiences, experiences))
        matrix[rng.random(matrix.shape) < holes] = NAN
        matrix[-1, -1] = 0.5
        value = computed(name, matrix.tolist(), rng.random(experiences).tolist())
        assert value is None or (isinstance(value, float) and np.isfinite(value))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_names_its_source_or_formula(name: str) -> None:
    documentation = inspect.getdoc(find("metric", name).function) or ""
    assert "R[" in documentation or "Source:" in documentation


# What a metric says of itself.


def test_every_metric_is_an_object_under_its_own_name() -> None:
    assert list(METRICS) == [metric_named(name).name for name in METRICS]


LOWER = {"forgetting.chaudhry", "forgetting.cw", "forgetting.cora", "forgetting.coom", "intransigence", "regret"}


@pytest.mark.parametrize("name", METRICS)
def test_the_reference_page_says_what_the_metric_says(name: str) -> None:
    metric = metric_named(name)
    shown = f"<measure>.{name}" if metric.scope == "measure" else name
    (row,) = [line.split(" | ") for line in REFERENCE.splitlines() if line.startswith(f"| `{shown}` |")]
    assert ("lower" if name in LOWER else "higher") == metric.better == row[2]
    told = {"performance": "range of R", "change": "difference in R", (-np.inf, np.inf): "unknown"}
    expected = told.get(metric.range) or "{:g} to {:g}".format(*metric.range)
    assert expected == row[3]


@pytest.mark.parametrize("name", MEASURES)
def test_the_reference_page_says_what_the_measure_says(name: str) -> None:
    (row,) = [line.split(" | ") for line in REFERENCE.splitlines() if line.startswith(f"| `{name}` |")]
    low, high = measure_named(name).range
    expected = "" if np.isinf([low, high]).all() else f"{low:g} or more" if np.isinf(high) else f"{low:g} to {high:g}"
    assert measure_named(name).better == row[2].partition(";")[0]
    assert expected == row[3].strip(" |")


def test_a_metric_lies_within_what_its_measure_allows() -> None:
    spans = {name: meaning.range for name, meaning in meanings(["squared_error", "accuracy"]).items()}
    assert (-np.inf, 0.0) == spans["squared_error.average"]
    assert (-np.inf, np.inf) == spans["backward_transfer"]
    assert (0.0, 1.0) == spans["accuracy.average"]
    assert (-1.0, 1.0) == spans["accuracy.backward_transfer"]
    assert (-2.0, 2.0) == spans["forgetting.cora"]


def test_what_a_metric_means_survives_a_file() -> None:
    for meaning in meanings(["squared_error", "accuracy"]).values():
        assert meaning == MetricMeaning.from_json(json.loads(json.dumps(meaning.as_json)))


def test_a_damaged_meaning_is_none_at_all() -> None:
    assert {} == meanings_in({"meaning": {"accuracy.average": {"better": "more"}}}) == meanings_in({"meaning": 3})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"better": "more"}, "better: expected higher or lower, got 'more'"),
        ({"scope": "task"}, "scope: expected measure or run or training, got 'task'"),
        ({"topic": "cost"}, "topic: expected performance or forgetting or transfer"),
        ({"range": (1.0, 0.0)}, r"range: expected \(low, high\) with low < high, got"),
        ({"name": "my metric"}, "name: expected words joined by dots"),
    ],
)
def test_a_metric_that_cannot_be_one_is_refused_where_it_is_made(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Metric(**{"name": "mine", "function": lambda _: 0.0, **settings})


# Metrics by name.


def test_the_measures_own_statistics_carry_its_name() -> None:
    values = metrics(records_of(R, BEFORE), ["accuracy"])
    assert {
        "accuracy.average",
        "accuracy.incremental",
        "accuracy.learning",
        "accuracy.min",
        "accuracy.worst_case",
        "backward_transfer",
        "forward_transfer.gem",
        "forward_transfer.cora",
        "forgetting.chaudhry",
        "forgetting.cw",
        "forgetting.cora",
    } == set(values)


def test_transfer_of_a_second_measure_carries_its_name() -> None:
    rows = records_of(R, metric="reconstruction_error") + records_of(R, metric="linear_probe")
    values = metrics(rows, ["reconstruction_error", "linear_probe"])
    assert pytest.approx(-0.25) == values["linear_probe.backward_transfer"]
    assert pytest.approx(0.25) == values["backward_transfer"]


def test_what_a_run_does_not_define_is_not_reported() -> None:
    assert {"accuracy.average": 0.9} == metrics(
        records_of(((0.9,),)), ["accuracy"], ["accuracy.average", "backward_transfer"]
    )
    assert "forgetting.chaudhry" not in metrics(records_of(((0.9,),)), ["accuracy"])


def test_metrics_by_name_are_those_alone() -> None:
    names = ["forgetting.chaudhry", "accuracy.average"]
    assert names == list(metrics(records_of(R), ["accuracy"], names))


def test_an_unknown_metric_gets_the_nearest_name() -> None:
    with pytest.raises(Problem, match=r"unknown metric 'forgeting.chaudhry'; did you mean forgetting.chaudhry"):
        metrics((), ["accuracy"], ["forgeting.chaudhry"])


def test_a_function_in_a_file_is_a_metric(tmp_path: Path) -> None:
    file = tmp_path / "own_metric.py"
    file.write_text("def worst(results):\n    return float(results.R[-1].min())\n")
    assert {"worst": 0.5} == metrics(records_of(R), ["accuracy"], [f"{file}:worst"])


def test_an_object_in_a_file_is_a_metric_under_its_own_name(tmp_path: Path) -> None:
    file = tmp_path / "own_object.py"
    file.write_text(
        "from rlcl.evaluation.metrics import Metric\n"
        "LOSS = Metric('lost', lambda results: 0.25, better='lower', range=(0.0, 1.0))\n"
        "EACH = Metric('worst', lambda results: 0.5, scope='measure')\n"
        "class Neither: ...\n"
    )
    names = [f"{file}:LOSS", f"{file}:EACH"]
    assert {"lost": 0.25, "accuracy.worst": 0.5} == metrics(records_of(R), ["accuracy"], names)
    meaning = meanings(["accuracy"], names)["lost"]
    assert ("lower", -1, (0.0, 1.0)) == (meaning.better, meaning.sign, meaning.range)
    with pytest.raises(Problem, match=r"Neither is not a metric; define it as a rlcl\.evaluation\.metrics\.Metric"):
        metrics(records_of(R), ["accuracy"], [f"{file}:Neither"])


def test_a_measurement_that_is_not_a_number_gives_no_metric_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = [record(10 * t + 10, t, j, NAN) for t in range(2) for j in range(2)]
        assert {} == metrics(rows, ["accuracy"])


def test_a_measure_in_a_file_is_reported_by_its_name_and_only_a_measure_is_one(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from rlcl.evaluation.measures import Measure\n"
        "COST = Measure('cost', lambda *_: 1.0, better='lower')\ndef cost(): ...\n"
    )
    records = [Record("", 0, 1, 0, 0, f"{file}:COST", 2.0)]
    assert {"cost.average": -2.0} == metrics(records, [f"{file}:COST"], ["cost.average"])
    with pytest.raises(Problem, match="cost is not a measure"):
        metrics(records, [f"{file}:cost"])


def test_a_metric_that_gives_no_number_is_told(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def row(results):\n    return results.R[0]\n")
    with pytest.raises(Problem, match="metric row must return a number or None, but returned ndarray"):
        metrics([Record("", 0, 1, 0, 0, "accuracy", 0.5)], ["accuracy"], [f"{file}:row"])


@pytest.mark.parametrize(("name", "matrix", "reason"), [
    ("backward_transfer", ((0.5,),), "it needs 2 tasks, and the stream has 1"),
    ("accuracy.average", ((0.5, 0.5), (NAN, 0.5)), "the last row of R is not complete"),
    ("accuracy.learning", ((0.5, 0.4, 0.3),), "an experience does not train a single column of R"),
    ("accuracy.online", R, "there are no online scores; set evaluation.online: true"),
    ("forgetting.cw", ((0.5, 2.0), (0.5, 0.4)), "a value of R is outside of [0, 1]"),
    ("forward_transfer.gem", R, "there was no evaluation before training; set evaluation.before: true"),
])  # fmt: skip
def test_a_requested_metric_that_is_not_defined_says_why(name: str, matrix: Any, reason: str) -> None:
    ((reported, found),) = undefined_metrics(records_of(matrix), ("accuracy",), [name]).items()
    assert reported == name
    assert found.startswith(reason)


def test_metrics_that_nobody_requested_need_no_reason() -> None:
    assert undefined_metrics(records_of(((0.5,),)), ("accuracy",), ()) == {}
    assert undefined_metrics(records_of(R, BEFORE), ("accuracy",), ("forgetting.cw",)) == {}


def test_a_task_that_was_visited_and_never_evaluated_is_left_out() -> None:
    rows = [record(10, 1, 0, 0.5), record(5, 0, 0, 1, "task"), record(10, 1, 1, 0, "task")]
    results = Results(rows, "accuracy")
    assert (1, 0) == results.visits
    for name in METRICS:
        find("metric", name)(results)


def test_rows_of_a_continued_run_without_a_task_are_those_of_their_own_columns() -> None:
    rows = [*records_of(R, BEFORE), record(30, 2, 2, 0, "task")]
    assert (0, 1, 0) == Results(rows, "accuracy").visits


def test_an_early_row_without_a_value_is_left_out_of_the_incremental_mean() -> None:
    matrix = ((NAN, 0.2), (NAN, 0.8))
    assert find("metric", "incremental")(Results(records_of(matrix), "accuracy")) == pytest.approx(0.8)
