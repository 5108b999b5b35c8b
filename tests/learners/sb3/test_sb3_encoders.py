"""Pixels, frames and running normalisation as Stable-Baselines3's algorithms see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium.wrappers import FlattenObservation, FrameStackObservation
from harness import (
    SMALL,
    cartpoles,
    differences,
    environment_stream,
    learn_all,
    learn_one,
    learner_host,
    pendulums,
    prepared,
    sb3,
)
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from rlcl.data.sources import Environment
from rlcl.encoders.compose import Compose
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.frame_stack import FrameStack
from rlcl.encoders.grey_scale import GreyScale
from rlcl.encoders.running_norm import RunningNorm
from rlcl.encoders.scale import Scale
from rlcl.errors import UnsupportedError
from rlcl.evaluation.plan import Plan
from rlcl.learners.sb3.environments import make_environments
from rlcl.seeding import Seeds
from rlcl.training.trainer import Trainer
from rlcl.types import Encoder


class Pixels(gym.Env[Any, Any]):
    """Colours that grow brighter for 5 steps; every step's reward is 2."""

    observation_space = gym.spaces.Box(0, 255, (36, 40, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def _image(self) -> Any:
        return np.full((36, 40, 3), 40 * self.count, np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 1
        return self._image(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        return self._image(), 2.0, False, self.count == 6, {}


def plain(algorithm: str, stream: Any, wrap: Callable[[Any], Any], vector: Callable[[VecEnv], VecEnv]) -> Any:
    """The plain model after one ``learn`` of the first experience, under the seeds that rlcl gives it."""
    source = stream[0].train
    env = vector(DummyVecEnv([lambda: Monitor(wrap(gym.make(source.env)))] * source.num_envs))
    arguments = {"policy_kwargs": {"net_arch": [16]}, **SMALL[algorithm]}
    seed = Seeds(0).child("learner").child("sb3").integer()
    model = getattr(stable_baselines3, algorithm)("MlpPolicy", env, seed=seed, device="cpu", **arguments)
    env.seed(source.seed)  # the model's constructor has seeded them by its own
    return model.learn(stream[0].budget.env_steps)


def unchanged(env: Any) -> Any:
    return env


class TestRunningNorm:
    @pytest.mark.parametrize("algorithm", ["PPO", "A2C", "DQN", "SAC"])
    def test_weights_and_statistics_equal_those_of_their_own_normalisation(self, algorithm: str) -> None:
        stream = pendulums(60) if algorithm == "SAC" else cartpoles(128, num_envs=2)
        encoder = RunningNorm(gamma=0.95, clip=3.0)
        learner = prepared(sb3(algorithm), stream, encoder=encoder)
        learn_one(learner, stream)
        expected = plain(
            algorithm, stream, unchanged, lambda env: VecNormalize(env, gamma=0.95, clip_obs=3.0, clip_reward=3.0)
        )
        norm = expected.get_vec_normalize_env()
        assert [] == differences(expected.get_parameters(), learner.model.get_parameters())
        for theirs, ours in ((norm.obs_rms, encoder.observed), (norm.ret_rms, encoder.returns)):
            assert ours.count > 60
            assert np.array_equal(theirs.mean, ours.mean)
            assert np.array_equal(theirs.var, ours.var)

    def test_predictions_are_for_normalised_observations(self) -> None:
        stream, encoder = cartpoles(128), RunningNorm()
        learner = prepared(sb3("PPO"), stream, encoder=encoder)
        learn_one(learner, stream)
        norm = learner.model.get_vec_normalize_env()
        x = stream[0].train.random_observations(50)  # type: ignore[union-attr]
        assert np.array_equal(norm.normalize_obs(x), encoder.encode(torch.from_numpy(x)).numpy())
        expected, _ = learner.model.predict(norm.normalize_obs(x), deterministic=True)
        assert np.array_equal(expected, learner.predict(x)[0])
        assert not np.array_equal(learner.model.predict(x, deterministic=True)[0], learner.predict(x)[0])

    def test_evaluation_reports_raw_rewards_and_leaves_the_statistics(self) -> None:
        stream = environment_stream(Environment(Pixels, name="pixels"), budget=16)
        encoder = Compose((Scale(), Flatten(), RunningNorm()))
        learner = sb3("PPO", n_steps=8, batch_size=8)
        outcome = Trainer(learner, stream, Plan(episodes=2, before=False), encoder=encoder).fit()
        assert [[10.0]] == outcome.R.tolist()  # 5 steps of 2
        assert pytest.approx(17.0, abs=1e-3) == encoder.encoders[-1].observed.count  # type: ignore[attr-defined]

    def test_rewards_are_divided_by_the_deviation_of_the_discounted_return(self) -> None:
        # Returns 2, 2 + 2 g, 2 + 2 g + 2 g^2 ... with g = 1: after n steps the numbers 2, 4, .., 2 n.
        env = make_environments(Environment(Pixels), RunningNorm(observations=False, gamma=1.0))
        env.reset()
        rewards = [float(env.step(np.zeros(1, np.int64))[1][0]) for _ in range(4)]
        deviations = [np.std(np.arange(2, 2 * n + 1, 2)) for n in range(2, 5)]
        assert pytest.approx([2 / d for d in deviations], rel=1e-3) == rewards[1:]

    def test_methods_see_normalised_observations_of_a_replay_buffer(self) -> None:
        stream, encoder = cartpoles(60), RunningNorm()
        learner = prepared(sb3("DQN"), stream, encoder=encoder)
        learn_one(learner, stream)
        learner.position.update = 60
        rows = learner_host(learner).sample(60, np.random.default_rng(0)).inputs.numpy()
        raw = learner.model.replay_buffer.observations[:60].reshape(60, 4)
        order = np.random.default_rng(0).permutation(60)
        assert np.array_equal(encoder.encode(torch.from_numpy(raw[order])).numpy(), rows)

    def test_over_environments_it_comes_last(self) -> None:
        encoder = Compose((RunningNorm(), FrameStack()))
        with pytest.raises(UnsupportedError, match="running_norm: for environments it must be the last encoder"):
            Trainer(sb3("PPO"), cartpoles(32), encoder=encoder)

    @pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
    def test_rewards_alone_leave_images_what_they_are(self, algorithm: str) -> None:
        stream = environment_stream(Environment(Pixels, name="pixels"), budget=32)
        options = {"n_steps": 16} if algorithm == "PPO" else {"learning_starts": 8, "buffer_size": 40}
        learner = prepared(sb3(algorithm, **options), stream, encoder=RunningNorm(observations=False))
        learn_all(learner, stream)
        assert (3, 36, 40) == learner.model.observation_space.shape
        assert 16 < learner.encoder.returns.count


class TestFrameStack:
    def test_weights_equal_those_over_gymnasiums_own_wrappers(self) -> None:
        encoder = FrameStack(frames=3)
        stream = encoder.adapt(cartpoles(128, num_envs=2))
        learner = prepared(sb3("PPO"), stream, encoder=encoder)
        learn_one(learner, stream)
        expected = plain("PPO", stream, lambda env: FlattenObservation(FrameStackObservation(env, 3)), unchanged)
        assert (12,) == learner.model.observation_space.shape
        assert [] == differences(expected.get_parameters(), learner.model.get_parameters())

    def test_a_truncated_episode_ends_with_its_own_frames_and_the_next_starts_anew(self) -> None:
        encoder = Compose((GreyScale(resize=1), FrameStack(frames=3), Flatten()))
        env = make_environments(Environment(Pixels, frames=3, num_envs=2), encoder)
        assert [[40.0, 40.0, 40.0]] * 2 == env.reset().tolist()  # type: ignore[union-attr]
        for _ in range(4):
            env.step(np.zeros(2, np.int64))
        observations, _, dones, infos = env.step(np.zeros(2, np.int64))
        assert dones.all()
        assert [160.0, 200.0, 240.0] == infos[1]["terminal_observation"].tolist()
        assert infos[1]["TimeLimit.truncated"]
        assert [[40.0, 40.0, 40.0]] * 2 == observations.tolist()  # type: ignore[union-attr]

    @pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
    def test_grey_frames_stay_images_for_a_convolutional_policy(self, algorithm: str) -> None:
        encoder: Encoder = Compose((GreyScale(), FrameStack(frames=4)))
        stream = environment_stream(Environment(Pixels, name="pixels"), budget=32)
        options = {"n_steps": 32} if algorithm == "PPO" else {"learning_starts": 8, "buffer_size": 40}
        learner = sb3(algorithm, **options)
        outcome = Trainer(learner, stream, Plan(episodes=2), encoder=encoder).fit()
        assert [[10.0]] == outcome.R.tolist()
        assert any(isinstance(module, torch.nn.Conv2d) for module in learner.model.policy.modules())
        assert gym.spaces.Box(0, 255, (4, 36, 40), np.uint8) == learner.model.observation_space
        buffer = learner.model.rollout_buffer if algorithm == "PPO" else learner.model.replay_buffer
        frames = buffer.observations.reshape(-1, 4, 36, 40)[:, :, 0, 0].tolist()
        # An episode of five steps, again and again.
        starts = [[40, 40, 40, 40], [40, 40, 40, 80], [40, 40, 80, 120], [40, 80, 120, 160], [80, 120, 160, 200]]
        assert (starts * 7)[:32] == frames[:32]
