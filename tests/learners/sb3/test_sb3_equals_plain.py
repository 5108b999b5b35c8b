"""Learning through rlcl ends with the weights of one uninterrupted ``learn`` of plain Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import pytest
import stable_baselines3
from harness import SMALL, cartpoles, differences, learn_all, learn_one, pendulums, prepared, sb3, weights
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from rlcl.data.sources import Environment
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream

# Algorithm, options on top of the small ones, parallel environments, env steps.
CASES: Mapping[str, tuple[str, dict[str, Any], int, int]] = {
    "PPO": ("PPO", {}, 1, 128),
    "PPO two environments": ("PPO", {}, 2, 256),
    "PPO linear": ("PPO", {"learning_rate": "lin_3e-3", "clip_range": "lin_0.2"}, 2, 256),
    "A2C": ("A2C", {}, 1, 128),
    "A2C linear": ("A2C", {"learning_rate": "lin_1e-2"}, 4, 256),
    "DQN": ("DQN", {}, 1, 200),
    "DQN linear": ("DQN", {"learning_rate": "lin_1e-2", "exploration_fraction": 0.9}, 1, 200),
    "DQN two environments": ("DQN", {"gradient_steps": -1}, 2, 200),
    "DQN n_steps": ("DQN", {"n_steps": 3}, 1, 200),
    "SAC": ("SAC", {}, 1, 60),
    "SAC linear": ("SAC", {"learning_rate": "lin_1e-2"}, 2, 80),
    "TD3": ("TD3", {}, 1, 60),
    "TD3 noise": ("TD3", {"action_noise": {"normal": 0.3}, "learning_rate": "lin_1e-2"}, 1, 60),
}


def stream_of(algorithm: str, num_envs: int, steps: int) -> Stream:
    make = cartpoles if algorithm in ("PPO", "A2C", "DQN") else pendulums
    return make(steps, num_envs=num_envs)


def plain_environments(source: Environment) -> DummyVecEnv:
    def make() -> gym.Env[Any, Any]:
        assert isinstance(source.env, str)
        env = gym.make(source.env)
        for name, value in source.attributes.items():
            setattr(env.unwrapped, name, value)
        return Monitor(env)

    env = DummyVecEnv([make] * source.num_envs)
    env.seed(source.seed)
    return env


def plain(algorithm: str, options: Mapping[str, Any], stream: Stream, steps: int) -> Any:
    """The plain model after one ``learn`` call, under the seeds that rlcl gives it."""
    source = stream[0].train
    assert isinstance(source, Environment)
    arguments: dict[str, Any] = {"policy_kwargs": {"net_arch": [16]}, **SMALL[algorithm]}
    for key, value in options.items():
        if isinstance(value, str):
            start = float(value.removeprefix("lin_"))
            arguments[key] = lambda progress, start=start: progress * start
        elif key == "action_noise":
            import numpy as np
            from stable_baselines3.common.noise import NormalActionNoise

            arguments[key] = NormalActionNoise(np.zeros(1), np.full(1, value["normal"]))
        else:
            arguments[key] = value
    seed = Seeds(0).child("learner").child("sb3").integer()
    env = plain_environments(source)
    model = getattr(stable_baselines3, algorithm)("MlpPolicy", env, seed=seed, device="cpu", **arguments)
    env.seed(source.seed)  # the model's constructor has seeded them by its own
    return model.learn(steps)


@pytest.mark.parametrize("name", CASES)
def test_the_weights_equal_those_of_one_plain_learn(name: str) -> None:
    algorithm, options, num_envs, steps = CASES[name]
    stream = stream_of(algorithm, num_envs, steps)
    expected = plain(algorithm, options, stream, steps)
    learner = prepared(sb3(algorithm, **options), stream)
    start = weights(learner)
    learn_one(learner, stream)
    assert steps == learner.model.num_timesteps == expected.num_timesteps
    # The keys alone of plain parameters and ours could agree without any learning.
    assert [] != differences(start, weights(learner))
    assert [] == differences(expected.get_parameters(), learner.model.get_parameters())


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "SAC", "TD3"])
def test_a_second_environment_equals_plain_set_env_and_learn(algorithm: str) -> None:
    # Without schedules; DQN's exploration is one, and restarts.
    steps = 128 if algorithm in ("PPO", "A2C") else 40
    stream = stream_of(algorithm, 1, steps)
    model = plain(algorithm, {}, stream, steps)
    second = stream[1].train
    assert isinstance(second, Environment)
    model.set_env(plain_environments(second))
    model.learn(steps, reset_num_timesteps=False)
    learner = prepared(sb3(algorithm), stream)
    learn_all(learner, stream)
    assert [] == differences(model.get_parameters(), learner.model.get_parameters())


def test_the_temperature_of_sac_equals_the_plain_one() -> None:
    stream = stream_of("SAC", 1, 60)
    learner = prepared(sb3("SAC"), stream)
    learn_one(learner, stream)
    expected = plain("SAC", {}, stream, 60).log_ent_coef
    assert 0.0 != float(expected.detach())
    assert expected.detach().tolist() == learner.model.log_ent_coef.detach().tolist()


def test_the_replay_buffer_equals_the_plain_one() -> None:
    import numpy as np

    stream = stream_of("DQN", 2, 200)
    learner = prepared(sb3("DQN"), stream)
    learn_one(learner, stream)
    expected = plain("DQN", {}, stream, 200).replay_buffer
    for name in ("observations", "next_observations", "actions", "rewards", "dones"):
        assert np.array_equal(getattr(expected, name), getattr(learner.model.replay_buffer, name)), name
