"""What Stable-Baselines3 is told by our environments: ends, last observations, values that are not finite."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from harness import cartpoles, environment_stream, learn_all, learn_one, prepared, sb3
from torch.distributions import Distribution

from rlcl.data.sources import Environment
from rlcl.encoders.identity import Identity
from rlcl.errors import DivergenceError, EnvironmentApiError
from rlcl.learners.sb3.environments import NativeVecEnv, RewardCounter, make_environments

OBSERVATIONS = gym.spaces.Box(-10, 10, (1,), np.float32)
START, END = 1.0, 2.0  # the observations of an episode of one step
VALUE, GAMMA = 5.0, 0.9


class Probe(gym.Env[Any, Any]):
    """Episodes of one step with reward 1, ended by ``terminated`` or by ``truncated``; some value may be NaN."""

    observation_space = OBSERVATIONS
    action_space = gym.spaces.Discrete(2)

    def __init__(self, end: str = "terminated", broken: str = "", continuous: bool = False) -> None:
        self.end, self.broken = end, broken
        if continuous:
            self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.array([START], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation = np.array([np.nan if self.broken == "observation" else END], np.float32)
        reward = float("nan") if self.broken == "reward" else 1.0
        if self.broken == "observation":
            return observation, reward, False, False, {}
        return observation, reward, self.end == "terminated", self.end == "truncated", {}


class ProbeVector(VectorEnv[Any, Any, Any]):
    """The same side by side, autoresetting in the same step; the last of two ends by both at once."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int, end: str = "terminated") -> None:
        self.num_envs, self.end = num_envs, end
        self.single_observation_space, self.single_action_space = OBSERVATIONS, gym.spaces.Discrete(2)
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.full((self.num_envs, 1), START, np.float32), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        n = self.num_envs
        ended = np.ones(n, dtype=bool)
        info = {"final_obs": np.full((n, 1), END, np.float32), "_final_obs": ended}
        terminated, truncated = np.full(n, self.end != "truncated"), np.full(n, self.end != "terminated")
        return np.full((n, 1), START, np.float32), np.ones(n), terminated, truncated, info


class SharedArrays(ProbeVector):
    """Writes its next observations into the array that it has already given away."""

    shared: Any = None

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        _, rewards, terminated, truncated, info = super().step(actions)
        self.shared = np.zeros((self.num_envs, 1), np.float32) if self.shared is None else self.shared
        self.shared += 1
        return self.shared, rewards, terminated, truncated, info


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    gym.register("rlcl_tests/Probe-v0", entry_point=Probe, vector_entry_point=ProbeVector)
    gym.register("rlcl_tests/SharedArrays-v0", entry_point=Probe, vector_entry_point=SharedArrays)
    yield
    gym.registry.pop("rlcl_tests/Probe-v0")
    gym.registry.pop("rlcl_tests/SharedArrays-v0")


def probe(end: str, vectorization: str = "sync", num_envs: int = 1, **kwargs: Any) -> Environment:
    return Environment(
        "rlcl_tests/Probe-v0",
        kwargs={"end": end, **kwargs},
        vectorization=vectorization,  # type: ignore[arg-type]
        num_envs=num_envs,
        name="probe",
    )


def on_policy(source: Environment, algorithm: str) -> Any:
    """A learner that has collected one rollout under a value function that is 5 everywhere."""
    stream = environment_stream(source, budget=8 * source.num_envs)
    learner = prepared(sb3(algorithm, n_steps=8, gamma=GAMMA, learning_rate=0.0), stream)
    with torch.no_grad():
        learner.model.policy.value_net.weight.zero_()
        learner.model.policy.value_net.bias.fill_(VALUE)
    learn_all(learner, stream)
    return learner


VECTORIZATIONS = ["sync", "async", "native"]


@pytest.mark.parametrize("vectorization", VECTORIZATIONS)
class TestTruncationIsNotTermination:
    @pytest.mark.parametrize("algorithm", ["PPO", "A2C"])
    @pytest.mark.parametrize(("end", "expected"), [("terminated", 1.0), ("truncated", 1.0 + GAMMA * VALUE)])
    def test_on_policy_rewards_are_bootstrapped_through_truncation_alone(
        self, vectorization: str, algorithm: str, end: str, expected: float
    ) -> None:
        learner = on_policy(probe(end, vectorization, 2), algorithm)
        buffer = learner.model.rollout_buffer
        assert np.allclose(expected, buffer.rewards)
        # An episode of one step: its return is its bootstrapped reward.
        assert np.allclose(expected, buffer.returns)

    @pytest.mark.parametrize(("end", "timeout"), [("terminated", 0.0), ("truncated", 1.0)])
    def test_off_policy_transitions_know_their_timeouts(self, vectorization: str, end: str, timeout: float) -> None:
        stream = environment_stream(probe(end, vectorization, 2), budget=40)
        learner = prepared(sb3("DQN"), stream)
        learn_all(learner, stream)
        buffer = learner.model.replay_buffer
        assert (20, 2) == buffer.dones[:20].shape
        assert np.array_equal(np.ones((20, 2)), buffer.dones[:20])
        assert np.array_equal(np.full((20, 2), timeout), buffer.timeouts[:20])
        # What the target multiplies the next value by is 1 - dones of a sample.
        assert 1.0 - timeout == float(buffer.sample(16).dones.mean())

    def test_the_next_observation_is_the_last_one_and_not_the_first_of_the_next_episode(
        self, vectorization: str
    ) -> None:
        stream = environment_stream(probe("truncated", vectorization), budget=30)
        learner = prepared(sb3("DQN"), stream)
        learn_all(learner, stream)
        buffer = learner.model.replay_buffer
        assert np.array_equal(np.full((30, 1, 1), START), buffer.observations[:30])
        assert np.array_equal(np.full((30, 1, 1), END), buffer.next_observations[:30])

    @pytest.mark.parametrize(("end", "truncated"), [("terminated", False), ("truncated", True)])
    def test_infos_hold_the_last_observation_the_timeout_and_the_episode(
        self, vectorization: str, end: str, truncated: bool
    ) -> None:
        env = make_environments(probe(end, vectorization, 2), Identity())
        env.reset()
        observations, rewards, dones, infos = env.step(np.zeros(2, dtype=np.int64))
        assert [[START], [START]] == observations.tolist()
        assert ([1.0, 1.0], [True, True]) == (rewards.tolist(), dones.tolist())
        for info in infos:
            assert [END] == info["terminal_observation"].tolist()
            assert truncated == info["TimeLimit.truncated"]
            assert (1.0, 1) == (info["episode"]["r"], info["episode"]["l"])
        env.close()

    def test_an_episode_that_ends_by_both_is_terminated(self, vectorization: str) -> None:
        own = Environment(BothAtOnce, vectorization=vectorization, name="both")  # type: ignore[arg-type]
        source = probe("both", vectorization) if vectorization == "native" else own
        env = make_environments(source, Identity())
        env.reset()
        _, _, dones, infos = env.step(np.zeros(1, dtype=np.int64))
        assert dones.tolist() == [True]
        assert not infos[0]["TimeLimit.truncated"]
        env.close()


class BothAtOnce(Probe):
    """Ends by termination and truncation in the same step."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.array([END], np.float32), 1.0, True, True, {}


def test_an_array_that_is_written_to_again_does_not_change_what_was_returned() -> None:
    source = Environment("rlcl_tests/SharedArrays-v0", vectorization="native", name="shared")
    env = make_environments(source, Identity())
    env.reset()
    first, *_ = env.step(np.zeros(1, dtype=np.int64))
    second, *_ = env.step(np.zeros(1, dtype=np.int64))
    assert ([[1.0]], [[2.0]]) == (first.tolist(), second.tolist())


class TestNativeCartPole:
    def source(self, num_envs: int = 3, **settings: Any) -> Environment:
        return Environment(
            "rlcl_envs/CartPole-v1", num_envs=num_envs, vectorization="native", seed=4, name="cartpole", **settings
        )

    def test_it_is_the_vector_environment_itself_and_rewards_are_counted(self) -> None:
        env = make_environments(self.source(), Identity())
        assert isinstance(env, RewardCounter)
        assert isinstance(env.venv, NativeVecEnv)
        assert 3 == env.num_envs

    def test_the_last_observation_follows_from_the_one_before_by_one_step_of_physics(self) -> None:
        env = make_environments(self.source(), Identity())
        before = env.reset()
        single = gym.make("CartPole-v1").unwrapped
        ends = 0
        for _ in range(60):
            after, _, dones, infos = env.step(np.ones(3, dtype=np.int64))
            for i in range(3):
                single.reset(seed=0)
                single.state = tuple(before[i].astype(np.float64))  # type: ignore[attr-defined]
                expected, _, terminated, _, _ = single.step(1)
                shown = infos[i]["terminal_observation"] if dones[i] else after[i]
                assert np.allclose(expected, shown, atol=1e-6)
                assert terminated == dones[i]
                if dones[i]:
                    assert (np.abs(after[i]) <= 0.05).all()
                    assert not infos[i]["TimeLimit.truncated"]
                    ends += 1
            before = after
        assert ends >= 9

    def test_every_step_is_a_transition_also_the_one_after_an_end(self) -> None:
        env = make_environments(self.source(1), Identity())
        env.reset()
        lengths, since = [], 0
        for _ in range(60):
            _, rewards, dones, infos = env.step(np.ones(1, dtype=np.int64))
            since += 1
            assert [1.0] == rewards.tolist()
            if dones[0]:
                assert (since, float(since)) == (infos[0]["episode"]["l"], infos[0]["episode"]["r"])
                lengths.append(since)
                since = 0
        assert all(8 <= length <= 11 for length in lengths)

    def test_a_time_limit_is_a_truncation(self) -> None:
        env = make_environments(self.source(2, kwargs={"max_episode_steps": 4}), Identity())
        before = env.reset()
        for step in range(1, 9):
            after, _, dones, infos = env.step(np.full(2, step % 2))
            assert [step % 4 == 0] * 2 == dones.tolist()
            if step % 4 == 0:
                assert [True, True] == [info["TimeLimit.truncated"] for info in infos]
                assert not np.allclose(infos[0]["terminal_observation"], after[0])
                assert np.allclose(infos[0]["terminal_observation"], before[0], atol=0.1 + 0.3)
            before = after

    def test_the_same_seed_gives_the_same_episodes(self) -> None:
        runs = []
        for _ in range(2):
            env = make_environments(self.source(), Identity())
            runs.append([env.reset(), *(env.step(np.ones(3, dtype=np.int64))[0] for _ in range(25))])
        assert np.array_equal(runs[0], runs[1])
        assert not np.array_equal(runs[0][0][0], runs[0][0][1])

    def test_attributes_reach_it(self) -> None:
        env = make_environments(self.source(attributes={"gravity": 20.0, "length": 2.0}), Identity())
        assert [20.0] * 3 == env.get_attr("gravity")
        assert [2.0] == env.get_attr("length", indices=0)

    def test_attributes_are_changed_in_some_of_them(self) -> None:
        env = make_environments(self.source(), Identity())
        env.set_attr("gravity", 20.0, indices=[0, 2])
        assert [20.0, 9.8, 20.0] == env.get_attr("gravity")
        env.set_attr("max_episode_steps", 7)
        assert [7, 7] == env.get_attr("max_episode_steps", indices=[0, 1])

    def test_training_is_bit_for_bit_that_on_gymnasiums_environments(self) -> None:
        learners = []
        for vectorization in ("native", "sync"):
            stream = cartpoles(256, num_envs=2, vectorization=vectorization)
            learners.append(prepared(sb3("PPO", n_steps=64), stream))
            learn_all(learners[-1], stream)
        weights = [learner.model.policy.state_dict() for learner in learners]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Torch's distributions check nothing, as after any use of torch.compile."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    yield
    Distribution.set_default_validate_args(before)


@pytest.mark.usefixtures("unchecked")
def test_values_that_are_not_finite_end_in_a_clear_error_where_torch_does_not_check_them() -> None:
    source = Environment(Probe, kwargs={"broken": "observation", "continuous": False}, name="probe")
    stream = environment_stream(source, budget=200)
    learner = prepared(sb3("PPO"), stream, event_interval=1)
    with pytest.raises(DivergenceError, match=r"experience 0 \(environment 0\)|environment probe"):
        learn_one(learner, stream)


BROKEN = [("PPO", False), ("A2C", False), ("DQN", False), ("PPO", True), ("SAC", True), ("TD3", True)]


@pytest.mark.parametrize("broken", ["reward", "observation"])
@pytest.mark.parametrize(("algorithm", "continuous"), BROKEN)
def test_values_that_are_not_finite_end_in_a_clear_error(algorithm: str, continuous: bool, broken: str) -> None:
    source = Environment(Probe, kwargs={"broken": broken, "continuous": continuous}, name="probe")
    stream = environment_stream(source, budget=200)
    learner = prepared(sb3(algorithm), stream, event_interval=1)
    with pytest.raises(
        (DivergenceError, EnvironmentApiError), match=r"experience 0 \(environment 0\)|environment probe"
    ):
        learn_one(learner, stream)


def test_what_is_only_prepared_leaves_no_worker_behind() -> None:
    before = set(multiprocessing.active_children())
    stream = environment_stream(Environment("CartPole-v1", num_envs=2, vectorization="async", name="pole"), budget=32)
    learner = prepared(sb3("PPO", n_steps=8), stream)
    assert set(multiprocessing.active_children()) <= before
    learn_all(learner, stream)
    assert set(multiprocessing.active_children()) <= before
