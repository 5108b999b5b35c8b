"""Environments that drift: what changes, when, in each vectorization, and what a saved state keeps."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlcl.data.drift import Constant, CyclicDrift, Drift, LinearDrift, Piecewise
from rlcl.data.environments.environment import Environment
from rlcl.data.environments.state import environment_state, restore_environment
from rlcl.errors import SettingError


class Counter(gym.Env):
    """Observes three numbers and its step; pays 1 for action 1. An episode has four steps."""

    def __init__(self, masked: bool = False) -> None:
        self.observation_space = gym.spaces.Box(-9, 9, (4,), np.float32)
        self.action_space = gym.spaces.Discrete(3, start=1)
        self.speed = 1.0
        self.gains = np.array([1.0, 2.0])
        self.masked = masked

    def _observation(self) -> Any:
        return np.array([1, 2, self.speed, self.steps], np.float32)

    def _info(self) -> dict[str, Any]:
        return {"action_mask": np.array([1, 0, 0], np.int8)} if self.masked else {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), self._info()

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self._observation(), float(action == 1) * self.gains[1] / 2, self.steps == 4, False, self._info()

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "speed": self.speed}

    def load_state_dict(self, state: Any) -> None:
        self.steps, self.speed = state["steps"], state["speed"]


def drift(parameter: str, function: Any) -> Drift:
    return Drift(parameter=parameter, function=function)


def source(*drifts: Drift, **settings: Any) -> Environment:
    return Environment(settings.pop("env", Counter), drift=drifts, seed=1, name="counter", **settings)


def played(env: Any, steps: int, action: int = 1) -> tuple[list[Any], list[float]]:
    observations, rewards = [env.reset(seed=1)[0].tolist()], []
    for _ in range(steps):
        observation, reward, terminated, _, _ = env.step(action)
        rewards.append(float(reward))
        observations.append(observation.tolist())
        if terminated:
            env.reset()
    return observations, rewards


def test_an_attribute_follows_the_env_steps_of_all_environments() -> None:
    # With three environments, each of their steps counts three env steps.
    env = source(drift("attributes.speed", LinearDrift(start=0, end=10, steps=10)), num_envs=3).make()
    observations, _ = played(env, 4)
    assert [0, 0, 3, 6, 9] == [row[2] for row in observations]  # the step is made with the value before it


def test_the_clock_starts_where_the_stream_is() -> None:
    drifting = source(drift("attributes.speed", LinearDrift(start=0, end=10, steps=10)))
    assert 7 == drifting.at(7).make().reset()[0][2]
    frozen = Environment(Counter, drift=drifting.drift, clock=7, frozen=True)
    observations, _ = played(frozen.make(), 4)
    assert {7.0} == {row[2] for row in observations}


def test_an_element_of_an_array_may_drift() -> None:
    _, rewards = played(source(drift("attributes.gains.1", Piecewise(values=(2, 6), steps=(2,)))).make(), 4)
    assert [1, 1, 3, 3] == rewards


def test_rewards_are_scaled_and_their_sign_changes() -> None:
    drifts = (
        drift("reward.scale", Piecewise(values=(1, 3), steps=(2,))),
        drift("reward.sign", CyclicDrift(values=(1, -1), interval=1)),
    )
    _, rewards = played(source(*drifts).make(), 4)
    assert [1, -1, 3, -3] == rewards


def test_observations_are_scaled_offset_and_permuted() -> None:
    drifts = (
        drift("observation.scale", Constant(value=2)),
        drift("observation.offset", Constant(value=0.5)),
        drift("observation.permutation", Constant(value=1)),
    )
    env = source(*drifts).make()
    observation = env.reset(seed=1)[0]
    assert [0.5, 2.5, 2.5, 4.5] == sorted(observation.tolist())
    assert [2.5, 4.5, 2.5, 0.5] != observation.tolist()
    assert env.observation_space.contains(observation)
    assert np.float32 == observation.dtype


def test_noise_has_its_deviation_and_comes_from_the_seed() -> None:
    env = source(drift("observation.noise", Constant(value=0.5))).make()
    first, again = (played(env, 400)[0] for _ in range(2))
    assert first == again
    noise = np.array(first)[:, :2] - [1, 2]
    assert 0.5 == pytest.approx(noise.std(), rel=0.1)
    assert noise[0].tolist() != noise[1].tolist()


def test_actions_and_masks_are_permuted_alike() -> None:
    for number in range(1, 6):
        env = source(drift("action.permutation", Constant(value=number)), kwargs={"masked": True}).make()
        _, info = env.reset(seed=1)
        (allowed,) = np.flatnonzero(info["action_mask"])
        assert 1.0 == env.step(int(allowed) + 1)[1]  # the allowed action is the one that pays


def test_a_box_of_actions_is_permuted() -> None:
    class Sum(gym.Env):
        observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
        action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return np.zeros(1, np.float32), {}

        def step(self, action: Any) -> Any:
            return np.zeros(1, np.float32), float(10 * action[0] + action[1]), False, False, {}

    number = next(n for n in range(1, 20) if np.random.default_rng([n, 2]).permutation(2)[0] == 1)
    env = source(drift("action.permutation", Constant(value=number)), env=Sum).make()
    env.reset(seed=1)
    assert 10 * 0.5 + 0.25 == env.step(np.array([0.25, 0.5], np.float32))[1]


@pytest.mark.parametrize("vectorization", ["sync", "native", "async"])
def test_vectorizations_agree(vectorization: Any) -> None:
    drifts = (
        drift("attributes.gravity", LinearDrift(start=9.8, end=60, steps=200)),
        drift("reward.scale", CyclicDrift(values=(1, 2), interval=20)),
        drift("observation.offset", Piecewise(values=(0, 1), steps=(40,))),
        drift("action.permutation", Piecewise(values=(0, 1, 2, 3), steps=(30, 60, 90))),
    )
    runs = []
    for kind in ("sync", vectorization):
        env = Environment("rlcl_envs/CartPole-v1", drift=drifts, num_envs=3, vectorization=kind, clock=10)
        vector = env.make_vector()
        steps: list[Any] = [vector.reset(seed=4)[0]]
        for i in range(60):
            observations, rewards, terminated, truncated, info = vector.step(np.array([i % 2, 1, 0]))
            final = [x for x in info.get("final_obs", []) if x is not None]
            steps.append([observations, rewards, terminated, truncated, *final])
        vector.close()
        runs.append(np.concatenate([np.ravel(np.asarray(x, np.float64)) for step in steps for x in step]))
    np.testing.assert_array_equal(runs[0], runs[1])


@pytest.mark.parametrize("vectorization", ["sync", "native"])
def test_a_saved_state_keeps_the_clock_and_the_noise(vectorization: Any) -> None:
    drifts = (
        drift("attributes.gravity", LinearDrift(start=9.8, end=60, steps=200)),
        drift("observation.noise", LinearDrift(start=0, end=1, steps=200)),
    )
    env = Environment("rlcl_envs/CartPole-v1", drift=drifts, num_envs=2, vectorization=vectorization)

    def advance(vector: Any, count: int) -> list[Any]:
        return [np.array(vector.step(np.array([i % 2, 1]))[0]).tolist() for i in range(count)]

    vector = env.make_vector()
    vector.reset(seed=3)
    advance(vector, 25)
    state = environment_state(vector)
    assert state is not None
    expected = advance(vector, 25)
    other = env.make_vector()
    restore_environment(other, state)
    assert expected == advance(other, 25)


def test_hidden_ends_of_episodes() -> None:
    for settings in ({}, {"vectorization": "async"}):
        env = Environment(Counter, continuing=True, num_envs=2, seed=1, **settings)  # type: ignore[arg-type]
        vector = env.make_vector()
        vector.reset(seed=1)
        steps = [vector.step(np.array([1, 1])) for _ in range(6)]
        assert [1, 2, 3, 0, 1, 2] == [step[0][0][3] for step in steps]
        assert not any(step[2].any() or step[3].any() or "final_obs" in step[4] for step in steps)
        vector.close()
    native = Environment("rlcl_envs/CartPole-v1", continuing=True, num_envs=2, seed=1, vectorization="native")
    vector = native.make_vector()
    vector.reset(seed=1)
    assert not any(vector.step(np.array([1, 1]))[2].any() for _ in range(60))


class Pixels(Counter):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gym.spaces.Box(0, 255, (4,), np.uint8)


class Parts(Counter):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gym.spaces.Dict({"a": gym.spaces.Discrete(2)})


@pytest.mark.parametrize(
    ("env", "parameter", "message"),
    [
        (Pixels, "observation.scale", "needs observations of floats"),
        (Parts, "observation.permutation", "cannot drift"),
        (Counter, "attributes.sped", "no attribute 'sped'; did you mean speed"),
        (Counter, "attributes.gains.5", "is not an element of an array"),
        ("MountainCarContinuous-v0", "action.permutation", None),
    ],
)
def test_parameters_that_do_not_fit_are_refused(env: Any, parameter: str, message: str | None) -> None:
    drifting = source(drift(parameter, Constant(value=1)), env=env)
    if message is None:
        drifting.make()
        return
    with pytest.raises(SettingError, match=message):
        drifting.make()
