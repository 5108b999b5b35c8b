"""Environments by name with kwargs and attributes; broken ones are refused with a remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlcl.data.environments.environment import Environment, environment_class
from rlcl.data.validation import check_environment
from rlcl.errors import DataError, EnvironmentApiError, Problem


def recipe(env: Any = "CartPole-v1", **settings: Any) -> Environment:
    return Environment(env, name=settings.pop("name", "mine"), **settings)


# Names, kwargs and attributes.


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("CartPol-v1", "did you mean CartPole-v1 or "),
        ("cartpole-v1", "did you mean CartPole-v1 or "),
        ("rlcl_envs/CartPol-v1", "did you mean rlcl_envs/CartPole-v1 or "),
    ],
)
def test_a_wrong_id_gets_the_nearest_names_once_each(name: str, near: str) -> None:
    with pytest.raises(DataError) as caught:
        recipe(name).make()
    message = str(caught.value)
    assert near in message
    names = message.rpartition("did you mean ")[2].rstrip("?").split(" or ")
    assert len(set(names)) == len(names)
    assert all(name in gym.registry for name in names)


def test_a_module_that_is_not_installed_is_named() -> None:
    with pytest.raises(DataError, match="no_such_module_at_all"):
        recipe("no_such_module_at_all:Thing-v0").make()


def test_wrong_kwargs_are_named() -> None:
    with pytest.raises(DataError, match=r"environment 'mine': kwargs \{'gravty': 1\} are not accepted"):
        recipe(kwargs={"gravty": 1}).make()


def test_kwargs_reach_the_environment() -> None:
    env: Any = recipe(kwargs={"sutton_barto_reward": True}).make().unwrapped
    assert env._sutton_barto_reward is True


def test_attributes_are_set_on_the_unwrapped_environment() -> None:
    env: Any = recipe(attributes={"gravity": 20.0}).make().unwrapped
    assert 20.0 == env.gravity


def test_an_unknown_attribute_gets_the_nearest_name() -> None:
    with pytest.raises(DataError, match=r"environment mine has no attribute 'gravty'; did you mean gravity"):
        recipe(attributes={"gravty": 20.0}).make()


def test_an_attribute_that_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="attribute gravity: expected a number, got 'high'"):
        recipe(attributes={"gravity": "high"}).make()


@pytest.mark.parametrize("name", ["CartPole-v1", "rlcl_envs/CartPole-v1"])
def test_a_new_length_is_not_half_applied(name: str) -> None:
    env: Any = recipe(name, attributes={"length": 2.0, "masspole": 0.3}).make().unwrapped
    assert pytest.approx(0.3 * 2.0) == env.polemass_length
    assert pytest.approx(0.3 + 1.0) == env.total_mass


def test_attributes_of_a_native_vector_are_its_physics() -> None:
    env: Any = recipe("rlcl_envs/CartPole-v1", attributes={"length": 2}, vectorization="native").make_vector(3)
    assert [2.0] * 3 == env.unwrapped.physics["length"].tolist()


@pytest.mark.parametrize("vectorization", ["sync", "native"])
def test_physics_that_cannot_be_are_refused(vectorization: Any) -> None:
    source = recipe("rlcl_envs/CartPole-v1", attributes={"masspole": 0}, vectorization=vectorization)
    with pytest.raises(DataError, match="mine: attribute masspole: expected a finite number above 0, got 0"):
        source.make_vector(2)


def test_an_unknown_attribute_of_a_native_vector_gets_the_nearest_name() -> None:
    source = recipe("rlcl_envs/CartPole-v1", attributes={"gravty": 20.0}, vectorization="native")
    with pytest.raises(DataError, match=r"environment mine has no attribute 'gravty'; did you mean gravity"):
        source.make_vector(2)


def test_wrong_physics_in_the_kwargs_are_refused() -> None:
    for vectorization in ("sync", "native"):
        source = recipe("rlcl_envs/Pendulum-v1", kwargs={"physics": {"m": -1}}, vectorization=vectorization)
        with pytest.raises(DataError, match=r"environment 'mine': kwargs .* are not accepted: m: expected a finite"):
            source.make_vector(2)


def test_a_class_in_a_file_is_an_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_env.py").write_text(
        "from gymnasium.envs.classic_control.cartpole import CartPoleEnv\n"
        "class Own(CartPoleEnv):\n"
        "    def __init__(self, push=10.0):\n"
        "        super().__init__()\n"
        "        self.force_mag = push\n"
    )
    monkeypatch.chdir(tmp_path)
    source = recipe(environment_class("own_env.py:Own"), kwargs={"push": 3.0})
    source.check()
    env: Any = source.make()
    assert 3.0 == env.unwrapped.force_mag


def test_what_a_file_names_must_be_callable(tmp_path: Path) -> None:
    (tmp_path / "own_number.py").write_text("Own = 3\n")
    with pytest.raises(Problem, match="expected a class or function, got Own = 3"):
        environment_class(f"{tmp_path}/own_number.py:Own")


def test_an_id_stays_an_id() -> None:
    assert "module:Name-v0" == environment_class("module:Name-v0")


def test_random_observations_are_the_same_always() -> None:
    first, second = (recipe(seed=3).random_observations(50) for _ in range(2))
    assert (50, 4) == first.shape
    assert np.array_equal(first, second)


def test_native_vectorisation_needs_a_native_version() -> None:
    remedy = r"use vectorization: sync \(or rlcl_envs/Pendulum-v1, which supports native\)"
    with pytest.raises(DataError, match=f"has no native vector version; {remedy}"):
        recipe("Pendulum-v1", vectorization="native").make_vector(2)
    with pytest.raises(DataError, match=r"has no native vector version; use vectorization: sync$"):
        recipe("Blackjack-v1", vectorization="native").make_vector(2)


def test_native_vectorisation_refuses_one_that_resets_a_step_later() -> None:
    with pytest.raises(DataError, match="cannot autoreset in the same step"):
        recipe("CartPole-v1", vectorization="native").check()


def test_environments_side_by_side_end_in_the_same_step() -> None:
    vector = recipe().make_vector(2)
    vector.reset(seed=0)
    for _ in range(60):
        observations, _, terminated, _, info = vector.step(np.array([0, 1]))
        if terminated.any():
            break
    ended = int(np.argmax(terminated))
    assert abs(info["final_obs"][ended][2]) > 0.2  # fell
    assert np.abs(observations[ended]).max() <= 0.05  # has begun anew
    vector.close()


# What breaks the Gymnasium API.


class Whole(gym.Env):
    """Nothing is wrong with it."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), 0.0, False, False, {}


class WrongShape(Whole):
    def step(self, action: Any) -> Any:
        return np.zeros(3, np.float32), 0.0, False, False, {}


class WrongType(Whole):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(2, np.float64), {}


class NoInfo(Whole):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(2, np.float32)


class Outside(Whole):
    def step(self, action: Any) -> Any:
        return np.array([0.0, 1.5], np.float32), 0.0, False, False, {}


class NotANumber(Whole):
    def step(self, action: Any) -> Any:
        return np.array([np.nan, 0.0], np.float32), 0.0, False, False, {}


class NoSeed(Whole):
    def reset(self) -> Any:  # type: ignore[override]
        return np.zeros(2, np.float32), {}


class FourValues(Whole):
    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), 0.0, False, {}


class InfiniteReward(Whole):
    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), float("inf"), False, False, {}


class NoReward(Whole):
    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), None, False, False, {}


class ManyRewards(Whole):
    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), np.zeros(2), False, False, {}


class WordForTerminated(Whole):
    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), 0.0, 0.0, False, {}


class InfoIsNone(Whole):
    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), 0.0, False, False, None


class NoActionSpace(Whole):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = 2  # type: ignore[assignment]


class Raises(Whole):
    def step(self, action: Any) -> Any:
        raise KeyError("speed")


class OutsideDiscrete(Whole):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gym.spaces.Discrete(3)  # type: ignore[assignment]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return 3, {}


class NoEnvironment:
    """No subclass of gymnasium.Env."""


class BreaksAfterItsReset(Whole):
    def __init__(self) -> None:
        super().__init__()
        self.resets = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.resets += 1
        return np.full(2, self.resets - 1.0, np.float32) * 2, {}

    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), 0.0, True, False, {}


BROKEN: list[tuple[Callable[[], Any], str]] = [
    (WrongShape, r"environment mine: step returned an observation .*its shape is \(3,\), expected \(2,\)"),
    (
        WrongType,
        r"reset returned an observation .* dtype float64, expected a NumPy array of float32; return np.asarray",
    ),
    (NoInfo, r"reset must return \(observation, info\) with info a dict, got an array of shape \(2,\)"),
    (Outside, r"element \[1\] is 1.5, expected a value in \[-1.0, 1.0\]; widen the space or clip the observation"),
    (NotANumber, r"element \[0\] is nan, expected a value in \[-1.0, 1.0\]"),
    (
        NoSeed,
        r"reset must accept seed=None and options=None as keyword arguments and call super\(\).reset\(seed=seed\)",
    ),
    (FourValues, r"step must return \(observation, reward, terminated, truncated, info\), got a tuple of 4"),
    (InfiniteReward, r"the reward is inf; it must be finite"),
    (NoReward, r"the reward must be one number, got NoneType None"),
    (ManyRewards, r"the reward must be one number, got an array of shape \(2,\)"),
    (WordForTerminated, r"terminated must be a bool, got float 0.0"),
    (InfoIsNone, r"info must be a dict, got NoneType None"),
    (NoActionSpace, r"action_space is not a gymnasium.Space; set it in __init__"),
    (Raises, r"step raised KeyError: 'speed'"),
    (OutsideDiscrete, r"reset returned an observation outside its observation_space Discrete\(3\): got int 3"),
    (NoEnvironment, r"environment mine: NoEnvironment is not a subclass of gymnasium.Env"),
    (BreaksAfterItsReset, r"reset returned an observation outside .*element \[0\] is 2.0"),
]


@pytest.mark.parametrize(("broken", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_environment_is_one_error_that_says_how_to_mend_it(broken: Callable[[], Any], message: str) -> None:
    with pytest.raises(EnvironmentApiError, match=message):
        recipe(broken).check()


def test_nothing_is_wrong_with_a_whole_environment() -> None:
    recipe(Whole).check()


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "rlcl_envs/CartPole-v1"])
def test_nothing_is_wrong_with_gymnasiums_own(name: str) -> None:
    recipe(name).check()


def test_an_environment_without_spaces_is_refused_when_registered_too() -> None:
    class Bare(gym.Env):
        pass

    gym.register("RlclTestBare-v0", Bare)
    try:
        with pytest.raises(
            EnvironmentApiError, match=r"mine: observation_space is not a gymnasium.Space; set it in __init__"
        ):
            recipe("RlclTestBare-v0").check()
    finally:
        del gym.registry["RlclTestBare-v0"]


def test_checking_plays_as_many_steps_as_it_is_told() -> None:
    class Counting(Whole):
        steps = 0

        def step(self, action: Any) -> Any:
            self.steps += 1
            return super().step(action)

    env = Counting()
    check_environment(env, "mine", steps=7)
    assert 7 == env.steps
