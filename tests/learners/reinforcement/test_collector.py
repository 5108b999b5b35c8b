"""Environments at work: what each step is, what is counted, and the running statistics of VecNormalize."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from probes import Probe
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from rlcl.data.sources import Environment
from rlcl.encoders.compose import Compose
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.identity import Identity
from rlcl.encoders.running_norm import RunningNorm
from rlcl.learners.reinforcement.collector import Collector


def probe(num_envs: int = 1, **kwargs: Any) -> Environment:
    return Environment(Probe, kwargs=kwargs, num_envs=num_envs, name="probe")


def test_every_step_is_a_transition_and_ends_have_their_last_state() -> None:
    collector = Collector(probe(length=2, end="terminated"), Identity())
    seen = []
    for _ in range(4):
        before = collector.observations
        step = collector.step(np.zeros(1, np.int64))
        seen.append(
            (float(before[0, 0]), float(step.next_observations[0, 0]), bool(step.terminated[0]), bool(step.ended[0]))
        )
    # States are counted from 0; the one after 2 is the first of the next episode, and no step leads there.
    assert [(0, 1, False, False), (1, 2, True, True), (0, 1, False, False), (1, 2, True, True)] == seen


@pytest.mark.parametrize(("end", "terminated"), [("terminated", True), ("truncated", False), ("both", True)])
def test_an_end_is_told_from_a_cut(end: str, terminated: bool) -> None:
    step = Collector(probe(end=end), Identity()).step(np.zeros(1, np.int64))
    assert (terminated, True) == (bool(step.terminated[0]), bool(step.ended[0]))


def test_returns_and_lengths_of_episodes_are_those_of_raw_rewards() -> None:
    collector = Collector(probe(2, length=3, end="truncated", reward=2.0), RunningNorm())
    assert {} == collector.values()
    for _ in range(7):
        collector.step(np.zeros(2, np.int64))
    assert {"episode_return": 6.0, "episode_length": 3.0} == collector.values()
    assert 4 == collector.finished


def test_statistics_equal_those_of_stable_baselines3() -> None:
    count = 3
    source = Environment("CartPole-v1", num_envs=count, seed=5, name="cartpole")
    collector = Collector(source, RunningNorm(gamma=0.9))
    theirs = VecNormalize(DummyVecEnv([lambda: gym.make("CartPole-v1")] * count), gamma=0.9)
    theirs.seed(5)
    observations = theirs.reset()
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(60):
        assert np.allclose(observations, collector.encode(collector.observations), atol=1e-6)
        actions = rng.integers(2, size=count)
        observations, rewards, dones, infos = theirs.step(actions)
        step = collector.step(actions)
        assert np.allclose(rewards, step.rewards, atol=1e-6)
        assert dones.tolist() == step.ended.tolist()
        last = collector.encode(step.next_observations)
        for i in np.flatnonzero(dones):
            assert np.allclose(infos[i]["terminal_observation"], last[i], atol=1e-6)
            ends += 1
    assert ends > 3


def test_encoders_before_the_statistics_are_applied_first() -> None:
    norm = RunningNorm(rewards=False)
    collector = Collector(probe(2), Compose((Flatten(), norm)))
    collector.step(np.zeros(2, np.int64))
    assert pytest.approx(4, abs=1e-3) == norm.observed.count  # two resets and two steps


@pytest.mark.parametrize("env", ["rlcl_envs/CartPole-v1", "CartPole-v1"])
def test_saved_and_restored_it_goes_on_as_before(env: str) -> None:
    vectorization = "native" if env.startswith("rlcl") else "sync"
    source = Environment(env, num_envs=2, seed=3, vectorization=vectorization, name=env)  # type: ignore[arg-type]
    one, other = Collector(source, RunningNorm()), Collector(source, RunningNorm())
    for _ in range(25):
        one.step(np.ones(2, np.int64))
    other.load_state_dict(one.state_dict())
    other.encoder.load_state_dict(one.encoder.state_dict())
    for _ in range(25):
        ours, theirs = (c.step(np.array([0, 1])) for c in (one, other))
        assert np.array_equal(ours.next_observations, theirs.next_observations)
        assert np.array_equal(ours.rewards, theirs.rewards)
    assert one.values() == other.values()


def test_an_environment_that_cannot_be_saved_starts_anew_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    one, other = (Collector(probe(length=3, savable=False), Identity()) for _ in range(2))
    one.step(np.zeros(1, np.int64))
    state = one.state_dict()
    assert state["environments"] is None
    other.load_state_dict(state)
    assert [[0.0]] == other.observations.tolist()
    assert 1 == caplog.text.count(
        "cannot be saved in the middle of an episode: the 1 episodes in progress are restarted"
    )
