"""Returns of whole episodes, exact on an environment whose rewards are known."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlcl.data.environments.environment import Environment
from rlcl.errors import DivergenceError
from rlcl.evaluation import episodes as module
from rlcl.evaluation.episodes import RandomPolicy, run_episodes


class Countdown(gym.Env):
    """Starts at a number in 1..9 drawn by its seed; each step pays it, times the action, and counts it down."""

    def __init__(self, endless: bool = False, reward: float | None = None) -> None:
        self.observation_space = gym.spaces.Box(0, 9, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(3)
        self.endless = endless
        self.reward = reward

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 10))
        return np.array([self.left], np.float32), {}

    def step(self, action: Any) -> Any:
        reward = float(self.left * action) if self.reward is None else self.reward
        self.left = self.left if self.endless else self.left - 1
        return np.array([self.left], np.float32), reward, self.left == 0, False, {}


class Acts:
    """Always the same action; notes what it is given."""

    measures = ("return",)

    def __init__(self, action: int = 1) -> None:
        self.action = action
        self.task_ids: set[int | None] = set()
        self.states: list[Any] = []
        self.shapes: set[tuple[int, ...]] = set()

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
        self.task_ids.add(task_id)
        self.states.append(state)
        self.shapes.add(np.shape(x))
        return np.full(len(x), self.action), (state or 0) + 1


def start(seed: int) -> int:
    env = Countdown()
    env.reset(seed=seed)
    return env.left


def returns(source: Environment, episodes: int, steps: int = 100, predictor: Acts | None = None) -> list[float]:
    values: list[float] = run_episodes(predictor or Acts(), source, episodes, steps, None).returns.tolist()
    return values


def test_returns_are_sums_of_rewards_until_the_first_end() -> None:
    # From n it pays n + (n - 1) + ... + 1 = n (n + 1) / 2; environment i is seeded with seed + i.
    expected = [start(7 + i) * (start(7 + i) + 1) / 2 for i in range(6)]
    assert len(set(expected)) > 2
    assert expected == returns(Environment(Countdown, seed=7), 6)


def test_returns_depend_on_the_actions() -> None:
    one = returns(Environment(Countdown, seed=7), 6)
    assert [2 * value for value in one] == returns(Environment(Countdown, seed=7), 6, predictor=Acts(2))


def test_each_episode_counts_once_however_short_it_is() -> None:
    assert 5 == len(returns(Environment(Countdown, seed=0, num_envs=3), 5))


def test_more_episodes_than_fit_side_by_side_are_played_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = returns(Environment(Countdown, seed=7), 7)
    monkeypatch.setattr(module, "MAX_ENVS", 3)
    predictor = Acts()
    assert expected == returns(Environment(Countdown, seed=7), 7, predictor=predictor)
    assert {(3, 1), (1, 1)} == predictor.shapes


@pytest.mark.parametrize("vectorization", ["sync", "native"])
def test_a_second_evaluation_gives_the_same(vectorization: Any) -> None:
    source = Environment("rlcl_envs/CartPole-v1", seed=3, vectorization=vectorization)
    first = returns(source, 8, 500)
    assert first == returns(source, 8, 500)
    assert first != returns(Environment("rlcl_envs/CartPole-v1", seed=4, vectorization=vectorization), 8, 500)


def test_an_endless_environment_is_cut_off_with_a_warning() -> None:
    source = Environment(Countdown, {"endless": True}, seed=7, name="countdown")
    with pytest.warns(UserWarning, match="environment countdown: 3 of 3 episodes were truncated after 10 env steps"):
        actual = returns(source, 3, 10)
    assert [10.0 * start(7 + i) for i in range(3)] == actual


def test_an_episode_that_ends_with_the_last_step_is_not_cut_off() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        returns(Environment(Countdown, seed=7), 1, start(7))


def test_a_reward_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(
        DivergenceError, match="environment countdown returned a reward that is not finite, at step 1 of an"
    ):
        returns(Environment(Countdown, {"reward": float("nan")}, name="countdown"), 2)


def test_a_recurrent_predictor_gets_its_state_back_and_the_task_id() -> None:
    predictor = Acts()
    run_episodes(predictor, Environment(Countdown, seed=7), 1, 100, 4)
    assert [None, *range(1, start(7))] == predictor.states
    assert {4} == predictor.task_ids


class Reports(Countdown):
    """A countdown that reports success: in the step that reaches ``at``, or in each last step if ``at`` is 0."""

    def __init__(self, key: str = "success", at: int = 1, value: Any = True) -> None:
        super().__init__()
        self.key, self.at, self.value = key, at, value

    def step(self, action: Any) -> Any:
        *result, info = super().step(action)
        return *result, {**info, self.key: self.value if self.left == self.at else False}


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"key": "success", "at": 0}, [1, 1, 1]),  # in the last step
        ({"key": "is_success", "at": 0}, [1, 1, 1]),
        ({"key": "is_success", "at": 0, "value": np.float32(1)}, [1, 1, 1]),
        ({"key": "success", "at": 9}, [0, 0, 0]),  # never
    ],
)
def test_success_is_read_from_the_info(vectorization: Any, settings: Any, expected: Any) -> None:
    source = Environment(Reports, settings, seed=7, vectorization=vectorization)
    assert expected == run_episodes(Acts(), source, 3, 100, None).successes.tolist()


def test_a_success_in_any_step_counts_but_a_final_one_only_in_the_last() -> None:
    # A start above 4 passes 4 on its way; see the authors' SuccessCounter for Meta-World.
    passes = [float(start(7 + i) > 4) for i in range(6)]
    assert {0.0, 1.0} == set(passes)
    any_step = run_episodes(Acts(), Environment(Reports, {"at": 4}, seed=7), 6, 100, None)
    assert passes == any_step.successes.tolist()
    last_step = run_episodes(Acts(), Environment(Reports, {"key": "is_success", "at": 4}, seed=7), 6, 100, None)
    assert [0.0] * 6 == last_step.successes.tolist()


def test_an_environment_without_success_has_none() -> None:
    episodes = run_episodes(Acts(), Environment(Countdown, seed=7), 3, 100, None)
    assert np.isnan(episodes.successes).all()
    assert [start(7 + i) for i in range(3)] == episodes.lengths.tolist()


def test_random_actions_are_allowed_and_the_same_each_time() -> None:
    source = Environment(Countdown, seed=7)
    first, again = (run_episodes(RandomPolicy(source), source, 4, 100, None).returns.tolist() for _ in range(2))
    assert first == again
    assert first != [0.0] * 4
