"""The tree of sums, and draws by priority, by hand and by counting."""

from __future__ import annotations

import numpy as np
import pytest

from rlcl.learners.reinforcement.priorities import Priorities, Prioritised, SumTree


@pytest.mark.parametrize("size", [1, 2, 13, 32, 33, 1024, 1025, 3000])
def test_every_mass_finds_the_place_that_holds_it(size: int) -> None:
    numbers = np.random.default_rng(size).integers(0, 4, size).astype(float)
    numbers[0] = 1.0
    tree = SumTree(size)
    tree.set(np.arange(size), numbers)
    assert numbers.sum() == tree.total
    masses = np.arange(0, numbers.sum(), 0.25)
    expected = np.searchsorted(np.cumsum(numbers), masses, side="right")
    assert expected.tolist() == tree.find(masses).tolist()


def test_a_number_is_replaced_and_the_last_of_two_holds() -> None:
    tree = SumTree(4)
    tree.set(np.array([0, 1, 2, 3]), np.array([1.0, 2.0, 3.0, 4.0]))
    tree.set(np.array([1, 1]), np.array([7.0, 5.0]))
    assert [1.0, 5.0, 3.0, 4.0] == tree.leaves.tolist()
    assert tree.total == 13.0


def test_priorities_and_importance_weights_by_hand() -> None:
    found = Priorities(4, Prioritised(alpha=0.5, beta=1.0))
    found.add(np.array([0, 1]))
    found.update(np.array([0, 1]), np.array([-9.0, 4.0]))
    found.add(np.array([2]))  # the largest so far: 3
    assert np.allclose([3, 2, 3, 0], found._tree.leaves)
    valid = np.array([True, True, True, False])
    indices, weights = found.sample(8, valid, np.random.default_rng(0), progress=0.0)
    assert {0, 1, 2} == set(indices.tolist())
    # The rarest weighs 1, and one that is drawn 3 / 2 times as often 2 / 3 of it.
    assert np.allclose(np.where(indices == 1, 1, 2 / 3), weights)
    assert weights.dtype == np.float32


def test_beta_rises_to_one() -> None:
    found = Priorities(2, Prioritised(alpha=1.0, beta=0.0))
    found.add(np.array([0, 1]))
    found.update(np.array([0, 1]), np.array([1.0, 4.0]))
    for progress, expected in ((0.0, 1.0), (0.5, 0.5), (1.0, 0.25)):
        indices, weights = found.sample(10, np.ones(2, bool), np.random.default_rng(0), progress)
        assert np.allclose(np.where(indices == 0, 1, expected), weights, rtol=1e-5)


def test_draws_are_in_proportion_and_never_of_invalid_rows() -> None:
    found = Priorities(5, Prioritised(alpha=1.0))
    found.add(np.arange(5))
    found.update(np.arange(5), np.array([1.0, 2.0, 3.0, 4.0, 90.0]))
    valid = np.array([True, True, True, True, False])
    indices, _ = found.sample(60_000, valid, np.random.default_rng(0), 0.0)
    counts = np.bincount(indices, minlength=5)
    assert np.allclose([6000, 12000, 18000, 24000, 0], counts, atol=5 * 24000**0.5)


def test_alpha_zero_is_uniform() -> None:
    found = Priorities(3, Prioritised(alpha=0.0))
    found.add(np.arange(3))
    found.update(np.arange(3), np.array([1.0, 20.0, 300.0]))
    indices, weights = found.sample(9, np.ones(3, bool), np.random.default_rng(0), 0.0)
    assert [3, 3, 3] == np.bincount(indices).tolist()
    assert [1.0] * 9 == weights.tolist()


def test_saved_and_loaded_the_sums_have_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    one = Priorities(1100, Prioritised())
    one.add(np.arange(1100))
    for _ in range(50):
        one.update(rng.integers(1100, size=40), rng.standard_normal(40))
    other = Priorities(1100, Prioritised())
    other.load_state_dict(one.state_dict())
    assert all(map(np.array_equal, one._tree._levels, other._tree._levels))
    assert one._largest == other._largest
