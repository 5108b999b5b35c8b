"""Wrappers, paths of attributes, and functions that make environments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rlcl.data.environments.environment import Environment, environment_class
from rlcl.data.environments.state import WRAPPER_ATTRIBUTES, environment_state, restore_environment
from rlcl.data.environments.wrappers import UNSUPPORTED, EnvironmentWrapper
from rlcl.errors import EnvironmentApiError, Problem, SettingError
from rlcl.seeding import Seeds
from rlcl.streams.environments import Environments, EnvironmentTask
from rlcl.types import Budget

OWN = """
from types import SimpleNamespace

import gymnasium as gym
import numpy as np

class Doubled(gym.Wrapper):
    def __init__(self, env, factor=2):
        super().__init__(env)
        self.factor, self.count = factor, 0

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.count += 1
        return observation, reward * self.factor + 0.001 * self.count, terminated, truncated, info

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]

def make(length=5, render_mode=None):
    return gym.make("CartPole-v1", max_episode_steps=length, render_mode=render_mode)

def nothing(env):
    return None

class Model:
    def __init__(self):
        self.opt = SimpleNamespace(gravity=np.array([0.0, 0.0, -9.8]), steps=3)

WIND = np.zeros(3)

class Nested(gym.Env):
    wind = WIND
    observation_space = gym.spaces.Box(-100, 100, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self):
        self.model = Model()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.model.opt.gravity.astype(np.float32), {}

    def step(self, action):
        return self.model.opt.gravity.astype(np.float32), float(self.model.opt.steps), False, False, {}
"""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    Path("factories_18.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


def wrapped(env: str, *wrappers: Any, **settings: Any) -> Environment:
    return Environment(
        environment_class(env),
        name=env,
        wrappers=tuple(EnvironmentWrapper(wrapper=w, kwargs=k) for w, k in wrappers),
        **settings,
    )


def rewards(env: Any, steps: int) -> list[float]:
    env.reset(seed=0)
    return [float(env.step(0)[1]) for _ in range(steps)]


def test_wrappers_are_put_on_from_the_inside() -> None:
    inner, outer = ("own.py:Doubled", {"factor": 3}), ("ClipReward", {"max_reward": 2.0})
    assert [3.001, 3.002] == rewards(wrapped("CartPole-v1", inner).make(), 2)
    assert [2.0, 2.0] == rewards(wrapped("CartPole-v1", inner, outer).make(), 2)
    assert [3.001, 3.002] == pytest.approx(
        rewards(wrapped("CartPole-v1", ("ClipReward", {"max_reward": 5.0}), inner).make(), 2)
    )


def test_a_task_adds_its_wrappers_outside_those_of_the_stream() -> None:
    stream = Environments(
        env="CartPole-v1",
        wrappers=("own.py:Doubled",),
        tasks=(
            EnvironmentTask(),
            EnvironmentTask(wrappers=(EnvironmentWrapper(wrapper="ClipReward", kwargs={"max_reward": 1.5}),)),
        ),
    ).make(Seeds(0), Budget(env_steps=8))
    first, second = (rewards(experience.environment.make(), 1)[0] for experience in stream)
    assert (2.001, 1.5) == (first, second)
    assert stream[0].environment.recipe != stream[1].environment.recipe


# One wrapper of each kind whose state is saved, around an environment that it accepts.
AROUND: dict[str, tuple[str, dict[str, Any]]] = {
    "ClipAction": ("Pendulum-v1", {}),
    "MaxAndSkipObservation": ("CartPole-v1", {"skip": 4}),
    "ClipReward": ("Pendulum-v1", {"min_reward": -1.0}),
    "DelayObservation": ("CartPole-v1", {"delay": 2}),
    "DiscretizeAction": ("Pendulum-v1", {"bins": 5}),
    "DtypeObservation": ("CartPole-v1", {"dtype": np.float64}),
    "FrameStackObservation": ("CartPole-v1", {"stack_size": 3}),
    "RecordEpisodeStatistics": ("CartPole-v1", {}),
    "RepeatAction": ("CartPole-v1", {"num_repeats": 2}),
    "RescaleAction": ("Pendulum-v1", {"min_action": np.float32(-1), "max_action": np.float32(1)}),
    "RescaleObservation": ("Pendulum-v1", {"min_obs": np.float32(-1), "max_obs": np.float32(1)}),
    "ReshapeObservation": ("CartPole-v1", {"shape": (2, 2)}),
    "StickyAction": ("CartPole-v1", {"repeat_action_probability": 0.5, "repeat_action_duration": (2, 4)}),
    "TimeAwareObservation": ("CartPole-v1", {}),
    "TimeLimit": ("CartPole-v1", {"max_episode_steps": 9}),
    "own.py:Doubled": ("CartPole-v1", {}),
}


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("name", AROUND)
def test_an_environment_in_a_wrapper_resumes_within_an_episode(name: str, vectorization: Any) -> None:
    env, kwargs = AROUND[name]
    source = wrapped(env, (name, kwargs), kwargs={"max_episode_steps": 25}, vectorization=vectorization)
    saved, restored = (source.make_vector(2, AutoresetMode.SAME_STEP) for _ in range(2))
    saved.reset(seed=3)
    saved.single_action_space.seed(0)
    drawn = [np.stack([saved.single_action_space.sample() for _ in range(2)]) for _ in range(60)]
    for action in drawn[:13]:
        saved.step(action)
    restored.reset(seed=8)
    state = environment_state(saved)
    assert state is not None
    restore_environment(restored, state)
    for action in drawn[13:]:
        for expected, actual in zip(saved.step(action)[:4], restored.step(action)[:4], strict=True):
            np.testing.assert_array_equal(expected, actual)
    saved.close()
    restored.close()


def test_every_wrapper_of_gymnasium_is_saved_or_is_known_not_to_be() -> None:
    ours = {"ContinuingEnv", "ObservationOffset", "PaddedActions", "PaddedObservations"}
    known = {cls.__name__ for cls in WRAPPER_ATTRIBUTES} - ours | set(UNSUPPORTED)
    # AddRenderObservation, ObstructView, GrayscaleObservation, ResizeObservation: of environments that cannot be saved.
    unsaved = {
        "AddRenderObservation", "AddWhiteNoise", "AtariPreprocessing", "GrayscaleObservation", "ObstructView",
        "RenderCollection", "ResizeObservation",
    }  # fmt: skip
    assert {name for name in gym.wrappers.__all__ if name[0].isupper()} == known | unsaved


@pytest.mark.parametrize(("wrapper", "message"), [
    ("RescaleReward", r"wrappers\[0\]: unknown wrapper 'RescaleReward' .*; did you mean ClipReward\?"),
    ("NormalizeReward", r"wrappers\[0\]: wrapper NormalizeReward is not supported: .* write a wrapper"),
    ("NormalizeObservation", r"use encoder running_norm"),
    ("gymnasium.wrappers:NormalizeReward", r"write a wrapper with a fixed scale"),
    ("absent.py:X", r"wrappers\[0\]: no file absent.py"),
    ("own.py:OWN", r"wrappers\[0\]: own.py has no 'OWN'"),
])  # fmt: skip
def test_a_wrapper_that_cannot_be_used_is_named(wrapper: str, message: str) -> None:
    with pytest.raises(Problem, match=message):
        Environments(env="CartPole-v1", wrappers=(wrapper,))


def test_wrong_keyword_arguments_name_the_environment_and_the_wrapper() -> None:
    with pytest.raises(
        SettingError, match=r"environment CartPole-v1: wrapper TimeLimit with kwargs {'steps': 3} cannot"
    ):
        wrapped("CartPole-v1", ("TimeLimit", {"steps": 3})).make()
    with pytest.raises(SettingError, match=r"wrapper ClipAction with kwargs {} cannot be used: .* requires a Box"):
        wrapped("CartPole-v1", ("ClipAction", {})).make()
    with pytest.raises(EnvironmentApiError, match=r"environment CartPole-v1: wrapper own.py:nothing returned NoneType"):
        wrapped("CartPole-v1", ("own.py:nothing", {})).make()


def test_native_vectorization_has_no_wrappers() -> None:
    source = wrapped("rlcl_envs/CartPole-v1", ("ClipReward", {"max_reward": 0.5}), vectorization="native")
    with pytest.raises(Exception, match="native does not support wrappers; use sync"):
        source.make_vector(2)


@pytest.mark.parametrize("name", ["own.py:make", "factories_18:make"])
def test_a_function_makes_environments(name: str) -> None:
    env = wrapped(name, kwargs={"length": 3}).make()
    env.reset(seed=0)
    assert [False, False, True] == [env.step(t % 2)[3] for t in range(3)]
    again = wrapped(name, kwargs={"length": 3})
    assert "0x" not in again.recipe


def test_an_id_in_a_module_stays_an_id() -> None:
    assert environment_class("rlcl_envs:rlcl_envs/CartPole-v1") == "rlcl_envs:rlcl_envs/CartPole-v1"
    assert environment_class("no_such_module:CartPole") == "no_such_module:CartPole"


def test_an_attribute_is_set_at_the_end_of_a_path() -> None:
    source = wrapped("own.py:Nested", attributes={"model.opt.gravity": [0, 0, -5], "model.opt.steps": 7})
    env = source.make()
    assert [0, 0, -5] == env.reset(seed=0)[0].tolist()
    assert 7.0 == env.step(0)[1]


@pytest.mark.parametrize(("attributes", "message"), [
    ({"model.opt.gravty": 1.0}, r"model\.opt of environment own.py:Nested has no .*; did you mean gravity\?"),
    ({"modl.opt": 1.0}, r"environment own.py:Nested has no attribute 'modl'"),
    ({"model.opt.gravity": [1.0]}, r"attribute model\.opt\.gravity: expected float64 of shape \(3,\), got \[1\.0\]"),
    ({"model.opt.gravity": "down"}, r"attribute model\.opt\.gravity: expected float64 of shape \(3,\), got 'down'"),
    ({"model.opt.steps": "many"}, r"attribute model\.opt\.steps: expected a number, got 'many'"),
])  # fmt: skip
def test_a_wrong_path_is_named(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        wrapped("own.py:Nested", attributes=attributes).make()


def test_an_array_that_environments_share_is_not_written() -> None:
    changed = wrapped("own.py:Nested", attributes={"wind": [1, 2, 3]}).make()
    plain = wrapped("own.py:Nested").make()
    assert [1, 2, 3] == changed.unwrapped.wind.tolist()
    assert [0, 0, 0] == plain.unwrapped.wind.tolist()
