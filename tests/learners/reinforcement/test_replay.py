"""The replay buffer: every transition that was added, and nothing else, over one step and over several."""

from __future__ import annotations

import numpy as np
import pytest

from rlcl.learners.reinforcement.replay import ReplayBuffer


def filled(
    capacity: int, num_envs: int, steps: int, length: int, terminates: bool = True
) -> tuple[ReplayBuffer, list[tuple[float, ...]]]:
    """States are counted up in each environment, 1,000 apart; episodes are ``length`` steps long."""
    buffer = ReplayBuffer(capacity, num_envs, (1,), np.float64, (), np.int64)
    state, age, added = np.arange(num_envs) * 1000.0, np.zeros(num_envs, int), []
    for _ in range(steps):
        next_observations = state + 1
        age += 1
        ended = age == length
        terminated = ended & terminates
        buffer.add(state[:, None], state.astype(int), state, next_observations[:, None], terminated, ended)
        added += [(float(s), float(s + 1), bool(t)) for s, t in zip(state, terminated, strict=True)]
        state, age = np.where(ended, next_observations + 1, next_observations), np.where(ended, 0, age)
    return buffer, added


def found(buffer: ReplayBuffer) -> set[tuple[float, ...]]:
    indices = np.flatnonzero(buffer.arrays["valid"])
    part = buffer.at(indices, 0.5)
    assert np.array_equal(part.observations[:, 0], part.rewards)
    assert np.array_equal(part.observations[:, 0].astype(int), part.actions)
    return {
        (float(s[0]), float(f[0]), bool(d == 0))
        for s, f, d in zip(part.observations, part.next_observations, part.discounts, strict=True)
    }


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 7, 1000])
def test_what_is_held_is_what_was_added_last(num_envs: int, length: int) -> None:
    for steps in (1, 2, 9, 10, 11, 37):
        buffer, added = filled(10 * num_envs, num_envs, steps, length)
        held = found(buffer)
        assert held <= set(added)
        assert len(held) == len(buffer)
        newest = set(added[-len(held) :])
        assert newest == held, (steps, length)
        # A ring of ten rows: one for the newest state, and one for each episode that has ended in it.
        assert len(held) >= num_envs * min(steps, 4 if length == 1 else 5 if length == 2 else 8)


def test_sums_over_several_steps_by_hand() -> None:
    buffer, _ = filled(20, 1, 5, 3)  # states 0 1 2 (3) and 4 5 (6)
    part = buffer.at(np.array([0, 1, 2, 4, 5]), 0.5, n=2)
    # 0 + 1/2 1, 1 + 1/2 2, 2 (terminal), 4 + 1/2 5, 5 (not known further)
    assert [0.5, 2.0, 2.0, 6.5, 5.0] == part.rewards.tolist()
    assert [2, 3, 3, 6, 6] == part.next_observations[:, 0].tolist()
    assert [0.25, 0.0, 0.0, 0.25, 0.5] == part.discounts.tolist()


def test_more_steps_than_there_are_cost_no_time() -> None:
    buffer, _ = filled(20, 1, 5, 3)
    indices = np.array([0, 1, 2, 4, 5])
    few, many = buffer.at(indices, 0.5, n=3), buffer.at(indices, 0.5, n=10**9)
    assert many.rewards.tolist() == few.rewards.tolist() == [1.0, 2.0, 2.0, 6.5, 5.0]
    assert many.discounts.tolist() == few.discounts.tolist()


def test_a_truncated_episode_goes_on_in_value() -> None:
    buffer, _ = filled(20, 1, 3, 3, terminates=False)
    assert [0.5, 0.5, 0.5] == buffer.at(np.array([0, 1, 2]), 0.5).discounts.tolist()
    assert [3.0] == buffer.at(np.array([2]), 0.5).next_observations[0].tolist()


def test_draws_are_uniform_over_transitions() -> None:
    buffer, _ = filled(12, 2, 40, 2)
    drawn = buffer.sample_indices(60_000, np.random.default_rng(0))
    assert set(np.flatnonzero(buffer.arrays["valid"])) == set(drawn)
    counts = np.unique(drawn, return_counts=True)[1]
    expected = 60_000 / len(counts)
    assert float(np.abs(counts - expected).max()) < 5 * expected**0.5


def test_saved_and_loaded_it_goes_on_as_before() -> None:
    one, _ = filled(10, 2, 3, 2)
    other = ReplayBuffer(10, 2, (1,), np.float64, (), np.int64)
    other.load_state_dict(one.state_dict())
    for buffer in (one, other):
        for _ in range(4):
            buffer.add(np.ones((2, 1)), np.ones(2), np.ones(2), np.ones((2, 1)), np.zeros(2, bool), np.zeros(2, bool))
    indices = one.sample_indices(20, np.random.default_rng(0))
    assert np.array_equal(indices, other.sample_indices(20, np.random.default_rng(0)))
    for ours, theirs in zip(
        one.at(indices, 0.9, 3).__getstate__().values(), other.at(indices, 0.9, 3).__getstate__().values(), strict=True
    ):  # type: ignore[attr-defined]
        assert np.array_equal(ours, theirs)


def test_what_states_allow_is_kept_from_the_first_time_it_is_told_and_survives_saving() -> None:
    buffer = ReplayBuffer(5, 1, (1,), np.float64, (), np.int64)
    no, plain = np.zeros(1, bool), buffer.bytes
    buffer.add(np.array([[0.0]]), np.zeros(1), np.ones(1), np.array([[1.0]]), no, no)
    assert buffer.at(np.array([0]), 0.5).masks is None
    for state, mask in ((1.0, [True, False]), (2.0, [False, True])):
        buffer.add(np.array([[state]]), np.zeros(1), np.ones(1), np.array([[state + 1]]), no, no, np.array([mask]))
    assert plain + 5 * 2 == buffer.bytes
    loaded = ReplayBuffer(5, 1, (1,), np.float64, (), np.int64)
    loaded.load_state_dict(buffer.state_dict())
    for one in (buffer, loaded):
        indices = np.arange(3)
        assert [[True, True], [True, False], [False, True]] == one.at(indices, 0.5).masks.tolist()  # type: ignore[union-attr]
        assert [[True, False], [False, True], [False, True]] == one.at(indices, 0.5, n=2).masks.tolist()  # type: ignore[union-attr]
    buffer.add(np.array([[3.0]]), np.zeros(1), np.ones(1), np.array([[4.0]]), no, no)  # that says nothing
    assert [[True, True]] == buffer.at(np.array([3]), 0.5).masks.tolist()  # type: ignore[union-attr]


def test_bytes_are_those_of_its_arrays() -> None:
    buffer = ReplayBuffer(10, 2, (3,), np.uint8, (), np.int64)
    # Ten rows of 3 bytes, an action of 8, a reward of 4, three flags; two counts of 8.
    assert 10 * (3 + 8 + 4 + 3) + 16 == buffer.bytes


def test_what_is_interrupted_goes_on_in_value_and_never_into_what_comes_next() -> None:
    buffer = ReplayBuffer(24, 2, (1,), np.float64, (), np.int64)
    ended, neither = np.array([False, True]), np.zeros(2, bool)
    buffer.add(np.array([[1.0], [5.0]]), np.zeros(2), np.ones(2), np.array([[2.0], [6.0]]), ended, ended)
    buffer.interrupt()
    buffer.add(np.array([[100.0], [500.0]]), np.zeros(2), np.ones(2), np.array([[101.0], [501.0]]), neither, ended)
    part = buffer.at(np.flatnonzero(buffer.valid), 0.5, n=2)
    assert [1.0, 100.0, 5.0, 500.0] == part.observations[:, 0].tolist()
    assert [2.0, 101.0, 6.0, 501.0] == part.next_observations[:, 0].tolist()
    assert [1.0, 1.0, 1.0, 1.0] == part.rewards.tolist()
    assert [0.5, 0.5, 0.0, 0.5] == part.discounts.tolist()


def test_interrupting_nothing_changes_nothing() -> None:
    empty = ReplayBuffer(10, 2, (1,), np.float64, (), np.int64)
    empty.interrupt()
    assert [0, 0] == empty.state_dict()["written"].tolist()
    ended, _ = filled(10, 2, 2, 2)
    before = ended.state_dict()["written"].copy()
    ended.interrupt()
    assert np.array_equal(before, ended.state_dict()["written"])


def test_the_smallest_one_always_holds_a_transition() -> None:
    for steps in range(1, 6):
        assert len(filled(1, 2, steps, 1)[0]) >= 1


def test_loading_forgets_what_was_held_before() -> None:
    state = filled(20, 1, 2, 9)[0].state_dict()
    buffer, _ = filled(20, 1, 19, 9)
    buffer.load_state_dict(state)
    assert len(buffer) == 2
