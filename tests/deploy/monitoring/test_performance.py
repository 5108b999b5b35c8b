"""Losses out of feedback, and whether they have grown."""

from __future__ import annotations

import json
import math

import attrs
import numpy as np
import pytest
from bundle_by_hand import SIGNATURE

from rlcl.deploy.log import Page
from rlcl.deploy.monitoring.losses import losses_of, reference_losses
from rlcl.deploy.monitoring.performance import MOST, Performance
from rlcl.deploy.signature import Field, Signature

VALUE = Signature(kind="regressor", inputs=(), outputs=(Field(name="value", shape=(2,), dtype="float32"),))
ACTION = Signature(kind="policy", inputs=(), outputs=(Field(name="action", shape=(), dtype="int64"),))


def page(signature: Signature, output: np.ndarray, feedback: list[object]) -> Page:
    numbers = np.arange(len(feedback))
    outputs = {signature.outputs[0].name: output}
    return Page(
        numbers=numbers, times=numbers * 1.0, bundle="d", signature=signature, task_ids=[None] * len(numbers),
        inputs={}, outputs=outputs, feedback=feedback, episodes=[None] * len(feedback),
    )  # fmt: skip


def test_losses_of_classes_are_told_by_name_and_unknown_ones_are_wrong() -> None:
    told = ["a", "b", "new", None, True, [1]]
    losses = losses_of(page(SIGNATURE, np.array([0, 0, 1, 1, 1, 1]), told))
    assert [0.0, 1.0, 1.0] == losses[:3].tolist()
    assert np.isnan(losses[3:]).all()
    numbered = attrs.evolve(SIGNATURE, classes=("0", "1", "2"))
    assert [0.0, 0.0, 1.0] == losses_of(page(numbered, np.array([1, 1, 1]), [1, 1.0, 2])).tolist()


def test_losses_of_values_and_rewards() -> None:
    values = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]], np.float32)
    losses = losses_of(page(VALUE, values, [[1.0, 4.0], [1.0], "x"]))
    assert 2.0 == losses[0]  # (0 + 4) / 2
    assert np.isnan(losses[1:]).all()
    assert [-3.0, 0.5] == losses_of(page(ACTION, np.array([0, 0]), [3.0, -0.5])).tolist()


def test_held_out_losses() -> None:
    assert [0.0, 1.0] == reference_losses(SIGNATURE, {"class": np.array([1, 2])}, np.array([1, 1])).tolist()
    said = {"value": np.array([[1.0, 2.0]], np.float32)}
    assert [2.0] == reference_losses(VALUE, said, np.array([[1.0, 4.0]], np.float32)).tolist()
    assert 0 == len(reference_losses(SIGNATURE, {"class": np.array([1])}, None))


def coins(seed: int, share: float, count: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(count) < share).astype(float)


def test_a_worse_beginning_is_found_against_the_held_out_level() -> None:
    watch = Performance(coins(0, 0.05, 1000), unit=True)
    (change,) = watch.watch(coins(1, 0.3, 400))
    assert change.before == pytest.approx(0.05, abs=0.03)
    assert change.after == pytest.approx(0.3, abs=0.12)
    assert change.worse
    assert [] == Performance(np.empty(0), unit=True).watch(coins(1, 0.3, 400))  # nothing to hold it against
    assert [] == watch.watch(coins(2, 0.3, 1000))  # it is the level now


def test_a_better_beginning_is_a_change_and_no_worse_one() -> None:
    (change,) = Performance(coins(0, 0.4, 1000), unit=True).watch(coins(1, 0.05, 400))
    assert not change.worse


def test_rewards_are_scaled_by_the_first_ones() -> None:
    watch = Performance(np.empty(0))
    rng = np.random.default_rng(0)
    assert [] == watch.watch(-100 - rng.normal(size=100))
    assert [] == watch.watch(-100 - rng.normal(size=400))
    (change,) = watch.watch(-97 - rng.normal(size=300))
    assert (-100.0, False) == (pytest.approx(change.before, abs=0.3), not change.worse)


def test_squared_errors_are_scaled_by_the_held_out_ones() -> None:
    rng = np.random.default_rng(0)
    watch = Performance(1e6 * rng.normal(size=500) ** 2)
    assert [] == watch.watch(1e6 * rng.normal(size=500) ** 2)
    (change, *_) = watch.watch(4e6 * rng.normal(size=500) ** 2)
    assert change.after > 2e6
    assert change.worse


def test_a_constant_loss_is_no_trouble() -> None:
    assert [] == Performance(np.zeros(10)).watch(np.zeros(300))
    assert [] == Performance(np.empty(0)).watch(np.ones(300))


@pytest.mark.parametrize("cut", [1, 450, 777])
def test_in_parts_it_equals_at_once_also_by_way_of_json(cut: int) -> None:
    losses = np.concatenate([coins(1, 0.05, 500), coins(2, 0.35, 500)])
    whole, first = (Performance(coins(0, 0.05, 300), unit=True) for _ in range(2))
    expected = whole.watch(losses)
    found = first.watch(losses[:cut])
    second = Performance(coins(0, 0.05, 300), unit=True)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert expected == found + second.watch(losses[cut:])
    assert whole.state_dict() == second.state_dict()
    assert not second.seeded  # the change has made a level of its own
    assert 1 == len(expected)


def test_it_goes_back_so_many_losses_and_not_more() -> None:
    watch = Performance(coins(0, 0.05, 300), unit=True)
    assert [] == watch.watch(coins(3, 0.05, MOST))
    assert 0 == len(watch.losses)
    assert watch.seeded  # and is held against the held-out level again
    assert watch.watch(coins(4, 0.3, 500))
    assert math.isclose(0, len(watch.losses) - 500, abs_tol=500)


def runs(seed: int, share: float, count: int, stay: float) -> np.ndarray:
    """Losses of which each is the last one's, or drawn anew."""
    rng = np.random.default_rng(seed)
    fresh, keeps = (rng.random(count) < share).astype(float), rng.random(count) < stay
    keeps[0] = False
    return fresh[np.maximum.accumulate(np.where(keeps, 0, np.arange(count)))]


@pytest.mark.parametrize("stay", [0.5, 0.8])
def test_losses_that_come_in_runs_are_no_change(stay: float) -> None:
    watched = [Performance(coins(seed, 0.2, 1000), unit=True) for seed in range(20)]
    found = [watch.watch(runs(seed + 50, 0.2, 5000, stay)) for seed, watch in enumerate(watched)]
    assert [[]] * 20 == found


def test_losses_that_come_in_runs_are_found_where_they_grow() -> None:
    for seed in range(5):
        watch = Performance(coins(seed, 0.05, 1000), unit=True)
        assert [] == watch.watch(runs(seed + 50, 0.05, 2000, 0.5))
        (change, *_) = watch.watch(runs(seed + 90, 0.3, 1500, 0.5))
        assert change.worse


@pytest.mark.parametrize("cut", [50, 1234])
def test_runs_in_parts_equal_those_at_once_also_by_way_of_json(cut: int) -> None:
    losses = np.concatenate([runs(1, 0.05, 2000, 0.5), runs(2, 0.4, 1500, 0.5)])
    whole, first, second = (Performance(coins(0, 0.05, 300), unit=True) for _ in range(3))
    expected = whole.watch(losses)
    found = first.watch(losses[:cut])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert expected == found + second.watch(losses[cut:])
    assert expected
    assert whole.state_dict() == second.state_dict()
