"""Physics, seeds, restarts, mistakes, and states that are saved and restored, of the vector environments."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from side_by_side import IDS, actions, assert_same_step, ours

from rlcl.state import flatten, unflatten


@pytest.mark.parametrize("name", IDS)
def test_spaces_are_those_of_gymnasiums_environment(name: str) -> None:
    vector, single = ours(name, 3), gym.make(name)
    assert single.observation_space == vector.single_observation_space
    assert single.action_space == vector.single_action_space
    assert (3, *single.observation_space.shape) == vector.observation_space.shape  # type: ignore[misc]
    assert AutoresetMode.SAME_STEP is vector.metadata["autoreset_mode"]
    assert vector.observation_space.contains(vector.reset(seed=0)[0])


@pytest.mark.parametrize("name", IDS)
def test_time_limit_and_threshold_are_gymnasiums(name: str) -> None:
    theirs, mine = gym.spec(name), gym.spec(f"rlcl_envs/{name}")
    assert (theirs.max_episode_steps, theirs.reward_threshold) == (mine.max_episode_steps, mine.reward_threshold)
    assert theirs.max_episode_steps == ours(name).max_episode_steps


@pytest.mark.parametrize("name", IDS)
def test_defaults_are_gymnasiums(name: str) -> None:
    single: Any = gym.make(name).unwrapped
    physics = ours(name, 2).physics
    known = {key: value for key, value in physics.items() if hasattr(single, key)}
    assert {key: [getattr(single, key)] * 2 for key in known} == {key: v.tolist() for key, v in known.items()}
    assert {"gravity"} >= physics.keys() - known.keys()  # a constant in the formulas of two of them


# Physics.


def test_physics_are_set_by_the_constructor_by_reset_by_name_and_as_attributes() -> None:
    vector = ours("CartPole-v1", 3, physics={"gravity": 20})
    assert [20.0] * 3 == vector.gravity.tolist()
    vector.reset(seed=0, options={"physics": {"length": [0.5, 1, 2]}, "low": 0.0, "high": 0.0})
    assert [0.5, 1.0, 2.0] == vector.physics["length"].tolist()
    vector.set_physics(gravity=[1, 2, 3])
    vector.masspole = 0.3
    vector.reset()
    assert ([1.0, 2.0, 3.0], [0.3] * 3) == (vector.gravity.tolist(), vector.masspole.tolist())


def test_gravity_decides_how_fast_a_pole_falls() -> None:
    vector = ours("CartPole-v1", 2, physics={"gravity": [9.8, 0.0], "force_mag": 0.0})
    vector.reset(seed=0)
    vector.state[:] = np.array([[0, 0, 0.1, 0]]).T
    observations = vector.step(np.array([1, 1]))[0]
    assert (True, 0.0) == (observations[0, 3] > 0, observations[1, 3])


@pytest.mark.parametrize("name", ["Acrobot-v1", "MountainCarContinuous-v0"])
def test_gravity_is_a_parameter_where_gymnasium_has_a_constant(name: str) -> None:
    vectors = [ours(name, 1, physics={"gravity": gravity}) for gravity in (0.0, 1.0)]
    single: Any = gym.make(f"rlcl_envs/{name}", physics={"gravity": 1.0})
    single.reset(seed=0)
    steps = []
    for vector in vectors:
        vector.reset(seed=0)
        steps.append(vector.step(actions(vector, 1)[0])[0][0])
    assert not np.array_equal(steps[0], steps[1])
    np.testing.assert_array_equal(steps[1], single.step(actions(vectors[0], 1)[0][0])[0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gravty": 1}, r"CartPoleVector has no parameter 'gravty'; it has gravity, masscart"),
        ({"length": 0}, r"length: expected a finite number above 0, got 0"),
        ({"length": [0.5, -1]}, r"length: expected a finite number above 0, got -1"),
        ({"gravity": float("nan")}, r"gravity: expected a finite number, got nan"),
        ({"gravity": [1, 2, 3]}, r"gravity: expected a number, or one for each of 2 environments, got \[1, 2, 3\]"),
        ({"gravity": "high"}, r"gravity: expected a number, or one for each of 2 environments, got 'high'"),
    ],
)
def test_a_wrong_parameter_is_named_and_changes_nothing(values: dict[str, Any], message: str) -> None:
    vector = ours("CartPole-v1", 2)
    with pytest.raises(ValueError, match=message):
        vector.set_physics(**{"masspole": 0.7, **values})
    assert [0.1, 0.1] == vector.masspole.tolist()


def test_a_parameter_stays_where_observations_fit_their_space() -> None:
    with pytest.raises(ValueError, match="max_speed: expected a finite number above 0 and at most 8, got 9"):
        ours("Pendulum-v1", 2).set_physics(max_speed=9)


def test_what_is_read_of_a_parameter_cannot_be_written_into() -> None:
    with pytest.raises(ValueError, match="read-only"):
        ours("Pendulum-v1", 2).g[0] = 3


# Seeds and restarts.


def test_the_seed_of_an_environment_is_its_own() -> None:
    together = ours("Acrobot-v1", 3).reset(seed=7)[0]
    alone = [ours("Acrobot-v1", 1).reset(seed=7 + i)[0][0] for i in range(3)]
    np.testing.assert_array_equal(np.stack(alone), together)


def test_generators_and_seeds_are_told() -> None:
    vector = ours("CartPole-v1", 2)
    vector.reset(seed=[4, 9])
    assert (4, 9) == vector.np_random_seed
    assert vector.np_random[0].random() == np.random.Generator(np.random.PCG64(4)).random(5)[4]


def test_without_a_seed_two_vectors_start_differently() -> None:
    assert not np.array_equal(ours("CartPole-v1", 2).reset()[0], ours("CartPole-v1", 2).reset()[0])


def test_bounds_of_a_reset_hold_for_that_reset_alone() -> None:
    vector = ours("CartPole-v1", 1)
    assert 2.0 == vector.reset(seed=0, options={"low": 2.0, "high": 2.0})[0][0, 0]
    while not vector.step(np.array([1]))[2][0]:
        pass
    assert np.abs(vector.state).max() <= 0.05


def test_returned_arrays_are_no_views_of_what_comes_next() -> None:
    vector = ours("CartPole-v1", 2)
    first = vector.reset(seed=0)[0]
    kept = first.copy()
    results = [vector.step(np.array([1, 1])) for _ in range(30)]
    copies = [np.array(result[0]) for result in results]
    finals = [f.copy() for result in results for f in result[4].get("final_obs", []) if f is not None]
    for _ in range(30):
        vector.step(np.array([0, 1]))
    np.testing.assert_array_equal(kept, first)
    assert all(np.array_equal(a, b[0]) for a, b in zip(copies, results, strict=True))
    again = [f for result in results for f in result[4].get("final_obs", []) if f is not None]
    assert finals
    assert all(np.array_equal(a, b) for a, b in zip(finals, again, strict=True))


def test_episode_statistics_can_be_recorded() -> None:
    vector = RecordEpisodeStatistics(ours("Pendulum-v1", 2))
    vector.reset(seed=0)
    total = np.zeros(2)
    for action in actions(vector, 200):
        _, rewards, _, _, info = vector.step(action)
        total += rewards
    assert [200, 200] == info["episode"]["l"].tolist()
    np.testing.assert_array_equal(total, info["episode"]["r"])


# Mistakes.


@pytest.mark.parametrize(
    ("name", "action", "message"),
    [
        ("CartPole-v1", [0, 2], "actions: expected 0 to 1, got 0 to 2"),
        ("CartPole-v1", [0, -1], "actions: expected 0 to 1, got -1 to 0"),
        ("CartPole-v1", [0], r"actions: expected \(2,\) integers, got \(1,\) int64"),
        ("CartPole-v1", [0.0, 1.0], r"actions: expected \(2,\) integers, got \(2,\) float64"),
        ("Pendulum-v1", [0.0, 1.0], r"actions: expected shape \(2, 1\), got \(2,\)"),
    ],
)
def test_wrong_actions_are_refused(name: str, action: list[float], message: str) -> None:
    vector = ours(name, 2)
    vector.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        vector.step(np.array(action))


MISTAKES: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda v: v.step(np.array([0, 0])), gym.error.ResetNeeded, "call reset before step"),
    (lambda v: v.reset(seed=[1]), ValueError, "seed: expected one for each of 2 environments, got 1"),
    (lambda v: v.reset(options={"reset_mask": [True, False]}), ValueError, r"reset_mask'\]: expected \(2,\) bool"),
    (lambda v: v.reset(options={"reset_mask": np.zeros(2, bool)}), ValueError, "expected at least one True"),
    (lambda v: v.reset(options={"reset_mask": np.array([True, False])}), gym.error.ResetNeeded, "without reset_mask"),
]


@pytest.mark.parametrize(("mistake", "error", "message"), MISTAKES)
def test_wrong_calls_are_refused(mistake: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mistake(ours("CartPole-v1", 2))


@pytest.mark.parametrize("settings", [{"num_envs": 0}, {"max_episode_steps": 0}])
def test_there_is_at_least_one_environment_and_one_step(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        gym.make_vec("rlcl_envs/CartPole-v1", **settings)  # type: ignore[arg-type]


# State in and out.


@pytest.mark.parametrize("name", IDS)
def test_a_restored_vector_goes_on_as_the_one_that_was_saved(name: str) -> None:
    vector = ours(name, 3, physics={"torque_noise_max": 0.1} if name == "Acrobot-v1" else None)
    key = next(iter(vector.physics))
    vector.reset(seed=3)
    chosen = actions(vector, 1300)
    for step, action in enumerate(chosen):
        if step == 50:
            vector.set_physics(**{key: vector.physics[key] * [1.0, 1.2, 0.8]})
        if step == 153:
            structure, tensors = flatten(vector.state_dict())
            saved = unflatten(json.loads(json.dumps(structure)), tensors)
            restored = ours(name, 3)
            restored.load_state_dict(saved)
        vector_step = vector.step(action)
        if step >= 153:
            assert_same_step(vector_step, restored.step(action))
    assert vector.np_random_seed == restored.np_random_seed


def test_a_state_is_no_view_of_the_vector() -> None:
    vector = ours("MountainCar-v0", 2)
    vector.reset(seed=0)
    state = vector.state_dict()
    before = state["state"].copy()
    vector.step(np.array([2, 2]))
    np.testing.assert_array_equal(before, state["state"])
    vector.load_state_dict(state)
    vector.step(np.array([2, 2]))
    np.testing.assert_array_equal(before, state["state"])


def test_the_state_of_another_vector_is_refused() -> None:
    state = ours("CartPole-v1", 2).state_dict()
    with pytest.raises(ValueError, match="expected the state of 3 CartPoleVector, got that of 2 CartPoleVector"):
        ours("CartPole-v1", 3).load_state_dict(state)
    with pytest.raises(ValueError, match="expected the state of 2 PendulumVector, got that of 2 CartPoleVector"):
        ours("Pendulum-v1", 2).load_state_dict(state)
