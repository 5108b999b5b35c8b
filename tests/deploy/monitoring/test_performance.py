"""Losses out of feedback, and whether they have grown."""

from __future__ import annotations

import json
import math

import attrs
import numpy as np
import pytest
from bundle_by_hand import SIGNATURE

from rlcl.deploy.log import AnswerPage
from rlcl.deploy.monitoring.losses import feedback_losses, reference_losses
from rlcl.deploy.monitoring.performance import MAX_LOSSES, LossMonitor
from rlcl.deploy.signature import Field, Signature

VALUE = Signature(kind="regressor", inputs=(), outputs=(Field(name="value", shape=(2,), dtype="float32"),))
ACTION = Signature(kind="policy", inputs=(), outputs=(Field(name="action", shape=(), dtype="int64"),))


def page(signature: Signature, output: np.ndarray, feedback: list[object]) -> AnswerPage:
    numbers = np.arange(len(feedback))
    outputs = {signature.outputs[0].name: output}
    return AnswerPage(
        numbers=numbers, times=numbers * 1.0, bundle="d", signature=signature, task_ids=[None] * len(numbers),
        inputs={}, outputs=outputs, feedback=feedback, episodes=[None] * len(feedback),
    )  # fmt: skip


def test_losses_of_classes_are_told_by_name_and_unknown_ones_are_wrong() -> None:
    told = ["a", "b", "new", None, True, [1]]
    losses = feedback_losses(page(SIGNATURE, np.array([0, 0, 1, 1, 1, 1]), told))
    assert [0.0, 1.0, 1.0] == losses[:3].tolist()
    assert np.isnan(losses[3:]).all()
    numbered = attrs.evolve(SIGNATURE, classes=("0", "1", "2"))
    assert [0.0, 0.0, 1.0] == feedback_losses(page(numbered, np.array([1, 1, 1]), [1, 1.0, 2])).tolist()


def test_losses_of_values_and_rewards() -> None:
    values = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]], np.float32)
    losses = feedback_losses(page(VALUE, values, [[1.0, 4.0], [1.0], "x"]))
    assert 2.0 == losses[0]  # (0 + 4) / 2
    assert np.isnan(losses[1:]).all()
    assert [-3.0, 0.5] == feedback_losses(page(ACTION, np.array([0, 0]), [3.0, -0.5])).tolist()


def test_held_out_losses() -> None:
    assert [0.0, 1.0] == reference_losses(SIGNATURE, {"class": np.array([1, 2])}, np.array([1, 1])).tolist()
    said = {"value": np.array([[1.0, 2.0]], np.float32)}
    assert [2.0] == reference_losses(VALUE, said, np.array([[1.0, 4.0]], np.float32)).tolist()
    assert 0 == len(reference_losses(SIGNATURE, {"class": np.array([1])}, None))


def coins(seed: int, share: float, count: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(count) < share).astype(float)


def test_a_worse_beginning_is_found_against_the_held_out_level() -> None:
    watch = LossMonitor(coins(0, 0.05, 1000), unit=True)
    (change,) = watch.observe(coins(1, 0.3, 400))
    assert change.before == pytest.approx(0.05, abs=0.03)
    assert change.after == pytest.approx(0.3, abs=0.12)
    assert change.worse
    assert [] == LossMonitor(np.empty(0), unit=True).observe(coins(1, 0.3, 400))  # nothing to hold it against
    assert [] == watch.observe(coins(2, 0.3, 1000))  # it is the level now


def test_a_better_beginning_is_a_change_and_no_worse_one() -> None:
    (change,) = LossMonitor(coins(0, 0.4, 1000), unit=True).observe(coins(1, 0.05, 400))
    assert not change.worse


def test_rewards_are_scaled_by_the_first_ones() -> None:
    watch = LossMonitor(np.empty(0))
    rng = np.random.default_rng(0)
    assert [] == watch.observe(-100 - rng.normal(size=100))
    assert [] == watch.observe(-100 - rng.normal(size=400))
    (change,) = watch.observe(-97 - rng.normal(size=300))
    assert (-100.0, False) == (pytest.approx(change.before, abs=0.3), not change.worse)


def test_squared_errors_are_scaled_by_the_held_out_ones() -> None:
    rng = np.random.default_rng(0)
    watch = LossMonitor(1e6 * rng.normal(size=500) ** 2)
    assert [] == watch.observe(1e6 * rng.normal(size=500) ** 2)
    (change, *_) = watch.observe(4e6 * rng.normal(size=500) ** 2)
    assert change.after > 2e6
    assert change.worse


def test_a_constant_loss_is_no_trouble() -> None:
    assert [] == LossMonitor(np.zeros(10)).observe(np.zeros(300))
    assert [] == LossMonitor(np.empty(0)).observe(np.ones(300))


@pytest.mark.parametrize("cut", [1, 450, 777])
def test_in_parts_it_equals_at_once_also_by_way_of_json(cut: int) -> None:
    losses = np.concatenate([coins(1, 0.05, 500), coins(2, 0.35, 500)])
    whole, first = (LossMonitor(coins(0, 0.05, 300), unit=True) for _ in range(2))
    expected = whole.observe(losses)
    found = first.observe(losses[:cut])
    second = LossMonitor(coins(0, 0.05, 300), unit=True)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert expected == found + second.observe(losses[cut:])
    assert whole.state_dict() == second.state_dict()
    assert not second.at_held_out_level  # the change has made a level of its own
    assert 1 == len(expected)


def test_it_goes_back_so_many_losses_and_not_more() -> None:
    watch = LossMonitor(coins(0, 0.05, 300), unit=True)
    assert [] == watch.observe(coins(3, 0.05, MAX_LOSSES))
    assert 0 == len(watch.losses)
    assert watch.at_held_out_level  # and is held against the held-out level again
    assert watch.observe(coins(4, 0.3, 500))
    assert math.isclose(0, len(watch.losses) - 500, abs_tol=500)


def runs(seed: int, share: float, count: int, stay: float) -> np.ndarray:
    """Losses of which each is the last one's, or drawn anew."""
    rng = np.random.default_rng(seed)
    fresh, keeps = (rng.random(count) < share).astype(float), rng.random(count) < stay
    keeps[0] = False
    return fresh[np.maximum.accumulate(np.where(keeps, 0, np.arange(count)))]


@pytest.mark.parametrize("stay", [0.5, 0.8])
def test_losses_that_come_in_runs_are_no_change(stay: float) -> None:
    watched = [LossMonitor(coins(seed, 0.2, 1000), unit=True) for seed in range(20)]
    found = [watch.observe(runs(seed + 50, 0.2, 5000, stay)) for seed, watch in enumerate(watched)]
    assert [[]] * 20 == found


def test_losses_that_come_in_runs_are_found_where_they_grow() -> None:
    for seed in range(5):
        watch = LossMonitor(coins(seed, 0.05, 1000), unit=True)
        assert [] == watch.observe(runs(seed + 50, 0.05, 2000, 0.5))
        (change, *_) = watch.observe(runs(seed + 90, 0.3, 1500, 0.5))
        assert change.worse


@pytest.mark.parametrize("cut", [50, 1234])
def test_runs_in_parts_equal_those_at_once_also_by_way_of_json(cut: int) -> None:
    losses = np.concatenate([runs(1, 0.05, 2000, 0.5), runs(2, 0.4, 1500, 0.5)])
    whole, first, second = (LossMonitor(coins(0, 0.05, 300), unit=True) for _ in range(3))
    expected = whole.observe(losses)
    found = first.observe(losses[:cut])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert expected == found + second.observe(losses[cut:])
    assert expected
    assert whole.state_dict() == second.state_dict()
