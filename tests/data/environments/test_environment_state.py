"""Environments that are saved in the middle of their episodes and restored go on as if nothing had happened."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rlcl.data.environments.environment import Environment
from rlcl.data.environments.state import environment_state, restore_environment
from rlcl.errors import DataError
from rlcl.state import flatten, unflatten

CLASSIC = ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"]
OURS = [f"rlcl_envs/{name}" for name in CLASSIC]


def recipe(name: str, vectorization: Any = "sync", **settings: Any) -> Environment:
    return Environment(name, name=name, vectorization=vectorization, **settings)


def written_and_read(state: Any) -> Any:
    """As a checkpoint writes and reads it."""
    structure, tensors = flatten(state)
    return unflatten(json.loads(json.dumps(structure)), tensors)


def step_of(vector: Any, rng: np.random.Generator) -> list[Any]:
    space = vector.single_action_space
    count = vector.num_envs
    if isinstance(space, gym.spaces.Discrete):
        action = rng.integers(0, int(space.n), count)
    else:
        action = rng.uniform(space.low, space.high, (count, 1)).astype(np.float32)
    observations, rewards, terminated, truncated, info = vector.step(action)
    final = [x for x in info.get("final_obs", ()) if x is not None]
    return [observations, rewards, terminated, truncated, *final]


def assert_goes_on(saved: Any, restored: Any, steps: int, warm_up: int) -> None:
    rng = np.random.default_rng(0)
    saved.reset(seed=3)
    for _ in range(warm_up):
        step_of(saved, rng)
    restore_environment(restored, written_and_read(environment_state(saved)))
    again = np.random.default_rng()
    again.bit_generator.state = rng.bit_generator.state
    ended = 0
    for _ in range(steps):
        expected, actual = step_of(saved, rng), step_of(restored, again)
        assert len(expected) == len(actual)
        for a, b in zip(expected, actual, strict=True):
            np.testing.assert_array_equal(a, b)
        ended += int((expected[2] | expected[3]).sum())
    assert ended  # the draws of a restart were compared too
    for env in (saved, restored):
        env.close()


@pytest.mark.parametrize(
    ("name", "vectorization"),
    [(n, "sync") for n in CLASSIC + OURS] + [(n, "native") for n in OURS] + [(n, "async") for n in (*CLASSIC, OURS[0])],
)
def test_restored_environments_go_on_as_the_saved_ones(name: str, vectorization: str) -> None:
    source = recipe(name, vectorization, kwargs={"max_episode_steps": 60})
    assert_goes_on(source.make_vector(3), source.make_vector(3), steps=90, warm_up=35)


def test_frames_in_the_stack_are_saved() -> None:
    source = recipe("CartPole-v1", frames=3)
    assert_goes_on(source.make_vector(2), source.make_vector(2), steps=60, warm_up=7)


def test_a_restart_that_waits_for_the_next_step_is_saved() -> None:
    source, mode = recipe("CartPole-v1", kwargs={"max_episode_steps": 7}), AutoresetMode.NEXT_STEP
    assert_goes_on(source.make_vector(2, mode), source.make_vector(2, mode), steps=20, warm_up=7)


def test_attributes_that_were_changed_are_saved() -> None:
    source = recipe("Pendulum-v1")
    saved, restored = source.make_vector(2), source.make_vector(2)
    saved.set_attr("g", [3.0, 7.0])  # type: ignore[attr-defined]
    assert_goes_on(saved, restored, steps=200, warm_up=5)
    assert (3.0, 7.0) == restored.get_attr("g")  # type: ignore[attr-defined]


def test_a_state_is_no_view_of_the_environments() -> None:
    vector = recipe("CartPole-v1").make_vector(2)
    vector.reset(seed=0)
    state: Any = environment_state(vector)
    before = flatten(written_and_read(state))
    restore_environment(vector, state)
    vector.step(np.array([0, 1]))
    after = flatten(state)
    assert before[0] == after[0]
    assert all(np.array_equal(before[1][key], after[1][key]) for key in before[1])


class Unknown(gym.Env[Any, Any]):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)


class Heavier(gym.Wrapper[Any, Any, Any, Any]):
    pass


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("make", [Unknown, lambda: Heavier(gym.make("CartPole-v1"))])
def test_what_cannot_be_saved_is_none(make: Any, vectorization: Any) -> None:
    vector = recipe(make, vectorization).make_vector(2)
    assert environment_state(vector) is None
    vector.close()


def test_a_restart_that_waits_in_a_process_of_its_own_cannot_be_saved() -> None:
    vector = recipe("CartPole-v1", "async").make_vector(2, AutoresetMode.NEXT_STEP)
    assert environment_state(vector) is None
    vector.close()


def test_observations_that_are_no_array_cannot_be_saved() -> None:
    class Words(Unknown):
        observation_space = gym.spaces.Dict({"x": gym.spaces.Discrete(2)})  # type: ignore[assignment]

    assert environment_state(recipe(Words).make_vector(1)) is None


def test_gymnasiums_native_vector_cannot_be_saved() -> None:
    assert environment_state(gym.make_vec("CartPole-v1", vectorization_mode="vector_entry_point")) is None


@pytest.mark.parametrize(
    ("saved", "restored", "message"),
    [
        (recipe("CartPole-v1"), recipe("Pendulum-v1"), "over CartPoleEnv.*over PendulumEnv"),
        (recipe(OURS[0], "native"), recipe(OURS[4], "native"), "state of 2 PendulumVector, got that of 2 CartPole"),
        (recipe(OURS[0], "native"), recipe(OURS[0]), "it was saved under another vectorization"),
        (recipe(OURS[0]), recipe(OURS[0], "native"), "it was saved under another vectorization"),
        (recipe(OURS[0]), recipe(OURS[0], "async"), "it was saved under another vectorization"),
        (recipe("CartPole-v1", "async"), recipe("Pendulum-v1", "async"), "over CartPoleEnv.*over PendulumEnv"),
        (recipe("CartPole-v1", "async"), recipe(Unknown, "async"), "but there are 2 .unsupported environments"),
    ],
)
def test_the_state_of_other_environments_is_refused(saved: Environment, restored: Environment, message: str) -> None:
    vector, other = saved.make_vector(2), restored.make_vector(2)
    vector.reset(seed=0)
    state: Any = environment_state(vector)
    with pytest.raises(DataError, match=f"the saved state does not fit the environments: .*{message}"):
        restore_environment(other, state)
    for env in (vector, other):
        env.close()


def test_the_state_of_more_environments_is_refused() -> None:
    vector = recipe("CartPole-v1").make_vector(2)
    vector.reset(seed=0)
    state: Any = environment_state(vector)
    with pytest.raises(DataError, match=r"it is the state of 2 .*, but there are 3 "):
        restore_environment(recipe("CartPole-v1").make_vector(3), state)
