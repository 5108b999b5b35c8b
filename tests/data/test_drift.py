"""Functions of the step that parameters follow, with values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rlcl.data.drift import (
    Constant,
    CyclicDrift,
    Drift,
    LinearDrift,
    Piecewise,
    RandomWalk,
    Sinusoid,
    change_steps,
    drift_values,
    numbered_permutation,
)
from rlcl.errors import Problem


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (Constant(value=3.0), {0: 3, 10**9: 3}),
        (Piecewise(values=(1, 2, 4), steps=(10, 20)), {0: 1, 9: 1, 10: 2, 19: 2, 20: 4, 10**9: 4}),
        (LinearDrift(start=1, end=3, steps=10, begin=5), {0: 1, 5: 1, 10: 2, 15: 3, 99: 3}),
        (Sinusoid(mean=2, amplitude=3, period=40), {0: 2, 10: 5, 20: 2, 30: -1, 40: 2}),
        (Sinusoid(mean=0, amplitude=1, period=8, phase=0.25), {0: 1, 2: 0, 4: -1}),
        (CyclicDrift(values=(1, 5), interval=3), {0: 1, 2: 1, 3: 5, 5: 5, 6: 1}),
    ],
)
def test_values_at_steps(function: Any, expected: dict[int, float]) -> None:
    assert list(expected.values()) == pytest.approx([function(step) for step in expected], abs=1e-12)


def test_a_random_walk_has_normal_moves_and_depends_on_its_seed_only() -> None:
    walk = RandomWalk(start=2.0, deviation=0.5, interval=10, seed=3)
    values = np.array([walk(10 * i) for i in range(20_000)])
    assert 2.0 == values[0] == walk(9)
    assert values[1] == walk(19) != values[0]
    moves = np.diff(values)
    assert 0.5 == pytest.approx(moves.std(), rel=0.03)
    assert 0.0 == pytest.approx(moves.mean(), abs=0.01)
    # In any order, and beyond the moves that are sampled together.
    other = RandomWalk(start=2.0, deviation=0.5, interval=10, seed=3)
    assert [values[i] for i in (19_999, 4096, 4095, 1)] == [other(10 * i) for i in (19_999, 4096, 4095, 1)]
    assert values[5] != RandomWalk(start=2.0, deviation=0.5, interval=10, seed=4)(50)


def test_a_random_walk_is_reflected_at_its_bounds() -> None:
    walk = RandomWalk(start=0.5, deviation=0.3, low=0.0, high=1.0, seed=0)
    free = RandomWalk(start=0.5, deviation=0.3, seed=0)
    values, unbounded = ([f(i) for i in range(3000)] for f in (walk, free))
    assert 0 <= min(values) < 0.05
    assert 0.95 < max(values) <= 1
    for value, position in zip(values, unbounded, strict=True):
        # Folded by a triangle wave of period 2.
        assert value == pytest.approx(1 - abs(1 - position % 2), abs=1e-9)


def test_the_seed_of_a_walk_is_that_of_the_run_unless_it_has_its_own() -> None:
    assert 7 == RandomWalk(start=0, deviation=1).seeded(7).seed
    assert 3 == RandomWalk(start=0, deviation=1, seed=3).seeded(7).seed


def test_jumps_of_all_parameters() -> None:
    drifts = [
        Drift(parameter="a", function=Piecewise(values=(1, 2, 3), steps=(10, 40))),
        Drift(parameter="b", function=CyclicDrift(values=(1, 2), interval=15)),
        Drift(parameter="c", function=LinearDrift(start=0, end=1, steps=5)),
    ]
    assert [10, 15, 30] == change_steps(drifts, 40)
    assert {"a": 2.0, "b": 2.0, "c": 1.0} == drift_values(drifts, 20)


def test_permutation_0_is_the_original_order_and_others_are_random_ones() -> None:
    assert numbered_permutation(0.2, 8) is None
    first, again, other = (numbered_permutation(n, 8) for n in (1, 1.3, 2))
    assert first is not None
    assert other is not None
    assert sorted(first) == list(range(8))
    assert first.tolist() == again.tolist() != other.tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Piecewise(values=(1, 2), steps=(10, 20)), "steps: expected 1, one less than values, got 2"),
        (lambda: Piecewise(values=(1, 2, 3), steps=(20, 10)), "steps: expected ascending steps"),
        (lambda: CyclicDrift(values=(), interval=3), "values: expected at least one value"),
        (lambda: RandomWalk(start=2, deviation=1, high=1), "start: expected low <= start <= high"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Any, message: str) -> None:
    with pytest.raises(Problem, match=message):
        make()


def test_reflection_at_one_bound() -> None:
    walk = RandomWalk(start=0.0, deviation=1.0, low=0.0, seed=1)
    free = RandomWalk(start=0.0, deviation=1.0, seed=1)
    assert [abs(free(i)) for i in range(50)] == pytest.approx([walk(i) for i in range(50)])
    assert math.isfinite(walk(10**5))
