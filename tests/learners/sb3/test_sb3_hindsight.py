"""Hindsight experience replay of Stable-Baselines3 in a stream of goals."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from harness import differences, environment_stream, learn_all, learn_one, prepared, restore, sb3, snapshot

from rlcl.data.sources import Environment
from rlcl.errors import Problem, UnsupportedError

GOALS = gym.spaces.Discrete(2, start=6)
PLACES = gym.spaces.Box(-2, 2, (1,), np.float32)


class Reach(gym.Env[Any, Any]):
    """Walks between -2 and 2 to a goal in episodes of 5 steps; pays k at the goal and k - 1 elsewhere."""

    action_space = gym.spaces.Discrete(3)

    def __init__(self, k: float = 0, numbers: bool = False, broken: bool = False) -> None:
        self.k, self.numbers, self.broken = k, numbers, broken
        goals: gym.Space[Any] = gym.spaces.Discrete(5, start=6) if numbers else PLACES
        self.observation_space = gym.spaces.Dict(observation=PLACES, achieved_goal=goals, desired_goal=goals)

    def _goal(self, place: int) -> Any:
        return np.int64(place + 8) if self.numbers else np.array([place], np.float32)

    def _observed(self) -> Any:
        return {
            "observation": np.array([self.place], np.float32),
            "achieved_goal": self._goal(self.place),
            "desired_goal": self._goal(2),
        }

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.count = 0
        return self._observed(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place = int(np.clip(self.place + int(action) - 1, -2, 2))
        self.count += 1
        seen = self._observed()
        reward = self.compute_reward(seen["achieved_goal"][None], seen["desired_goal"][None], [{}])[0]
        return seen, float(reward), False, self.count == 5, {"bonus": np.float32(0.0)}

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        assert not self.numbers or (achieved.min() >= 6 and desired.min() >= 6)
        if self.broken:
            return 1.0
        return self.k - (achieved != desired).reshape(len(achieved), -1).any(1).astype(np.float32)


def goals(*ks: float, vectorization: str = "sync", **kwargs: Any) -> Any:
    sources = [
        Environment(Reach, kwargs={"k": k, **kwargs}, num_envs=2, vectorization=vectorization, name="reach")  # type: ignore[arg-type]
        for k in ks
    ]
    return environment_stream(*sources, budget=64)


def hindsight(**kwargs: Any) -> Any:
    options = {"replay_buffer_class": "HerReplayBuffer", "learning_starts": 20, **kwargs}
    return sb3("DQN", **options)


def relabelled(learner: Any) -> Any:
    """The rewards of many relabelled transitions."""
    buffer = learner.model.replay_buffer
    rows, columns = np.nonzero(buffer.ep_length > 0)
    return buffer._get_virtual_samples(rows, columns).rewards.numpy().ravel()


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("numbers", [False, True])
def test_rewards_of_other_goals_are_those_of_the_environment_in_progress(vectorization: str, numbers: bool) -> None:
    stream = goals(0, 100, vectorization=vectorization, numbers=numbers)
    learner = prepared(hindsight(), stream)
    asked = []
    for experience in stream:
        for _ in learner.learn(experience):
            if learner.position.update >= 30 and learner.position.learning:
                asked.append((experience.index, set(relabelled(learner).tolist())))
    assert {-1.0, 0.0} == set().union(*(rewards for place, rewards in asked if place == 0))
    assert {99.0, 100.0} == set().union(*(rewards for place, rewards in asked if place == 1))


def test_an_episode_does_not_reach_over_a_boundary() -> None:
    stream = goals(0, 100)  # 32 steps of each environment: six episodes, and two steps of a seventh
    learner = prepared(hindsight(), stream)
    learn_all(learner, stream)
    buffer = learner.model.replay_buffer
    assert [5] * 30 + [2] * 2 + [5] * 30 == buffer.ep_length[:62, 0].tolist()


@pytest.mark.parametrize("infos", [False, True])
def test_resumed_at_a_boundary_it_equals_one_that_ran_through(infos: bool) -> None:
    options = {"replay_buffer_kwargs": {"copy_info_dict": infos, "n_sampled_goal": 3}}
    stream = goals(0, 100)
    whole = prepared(hindsight(**options), stream)
    learn_one(whole, stream)
    kept = snapshot(whole)
    learn_one(whole, stream)
    resumed = prepared(hindsight(**options), goals(0, 100))
    restore(resumed, kept)
    learn_one(resumed, goals(0, 100))
    found = differences(whole.state_dict(), resumed.state_dict())
    assert [] == [place for place in found if "/episode/t:" not in place]  # a wall clock


@pytest.mark.parametrize(
    ("options", "kwargs", "message"),
    [
        ({"replay_buffer_class": "os.system"}, {}, "unknown class 'os.system'"),
        ({"replay_buffer_class": "HerReplayBufer"}, {}, "did you mean HerReplayBuffer"),
        (
            {"replay_buffer_kwargs": {"goal_selection_strategy": "past"}},
            {},
            "not accept these options or spaces: no 'past'",
        ),
        ({"replay_buffer_kwargs": {"n_goals": 4}}, {}, "n_goals"),
        ({}, {"broken": True}, "must return an array of shape"),
    ],
)
def test_what_it_cannot_do_is_refused_before_training(
    options: dict[str, Any], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises((Problem, UnsupportedError), match=message):
        prepared(hindsight(**options), goals(0, **kwargs))


def test_infos_of_workers_are_refused_for_they_are_not_handed_on() -> None:
    options = {"replay_buffer_kwargs": {"copy_info_dict": True}}
    with pytest.raises(UnsupportedError, match=r"copy_info_dict: true .*; set vectorization: sync"):
        prepared(hindsight(**options), goals(0, vectorization="async"))


def test_other_environments_are_refused() -> None:
    with pytest.raises(
        UnsupportedError, match=r"does not accept these options or spaces|needs observations with the parts"
    ):
        prepared(hindsight(), environment_stream(Environment("CartPole-v1", name="pole"), budget=8))


def test_a_warm_up_without_a_whole_episode_is_told() -> None:
    stream = goals(0)
    with pytest.raises(UnsupportedError, match=r"learner.options.learning_starts: .* set it to more than the steps"):
        learn_all(prepared(hindsight(learning_starts=2), stream), stream)
