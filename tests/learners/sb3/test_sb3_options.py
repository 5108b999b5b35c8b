"""Algorithms, options and policies by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from harness import cartpoles, differences, learn_all, learn_one, pendulums, prepared, sb3, weights

from rlcl.encoders.standardize import Standardize
from rlcl.errors import Problem, UnsupportedError
from rlcl.learners.sb3.learner import StableBaselines3


def refused(match: str, algorithm: str = "PPO", **settings: Any) -> None:
    with pytest.raises((Problem, UnsupportedError), match=match):
        prepared(StableBaselines3(algorithm=algorithm, **settings), cartpoles(32))


class TestRefusals:
    @pytest.mark.parametrize(
        ("wrong", "right"), [("PP0", "PPO"), ("ppo", "PPO"), ("RecurentPPO", "RecurrentPPO"), ("qrdqn", "QRDQN")]
    )
    def test_an_unknown_algorithm_gets_the_nearest_name(self, wrong: str, right: str) -> None:
        refused(rf"learner\.algorithm: unknown algorithm '{wrong}'; did you mean .*{right}", wrong)

    def test_an_unknown_option_gets_the_nearest_name(self) -> None:
        refused(r"learner\.options\.n_step: PPO has no option 'n_step'; did you mean n_steps", options={"n_step": 8})

    @pytest.mark.parametrize("key", ["seed", "device", "env", "policy", "verbose"])
    def test_what_rlcl_sets_itself_is_no_option(self, key: str) -> None:
        refused(rf"learner\.options\.{key}: PPO has no option", options={key: 1})

    def test_an_unknown_policy_gets_the_nearest_name(self) -> None:
        refused(r"learner\.policy: unknown policy 'MlpPolcy'; did you mean MlpPolicy", policy="MlpPolcy")

    def test_an_algorithm_that_cannot_serve_the_actions_is_refused(self) -> None:
        refused("learner sb3: SAC does not accept these options or spaces", "SAC")

    def test_an_option_of_a_wrong_value_is_refused(self) -> None:
        refused(
            r"learner\.options\.batch_size: expected a whole number of at least 1, got 0", options={"batch_size": 0}
        )
        refused(r"learner\.options\.gamma: expected a number, got 'x'", options={"gamma": "x"})
        refused("PPO does not accept these options or spaces", options={"policy_kwargs": {"net_arch": 3}})

    @pytest.mark.parametrize("text", ["lin_", "lin_fast"])
    def test_a_schedule_without_a_number_is_refused(self, text: str) -> None:
        refused(
            rf"learner\.options\.learning_rate: expected lin_ and a number, got '{text}'",
            options={"learning_rate": text},
        )

    def test_an_unknown_noise_is_refused(self) -> None:
        with pytest.raises(
            Problem, match=r"learner\.options\.action_noise: unknown noise 'norml'; did you mean normal"
        ):
            prepared(sb3("TD3", action_noise={"norml": 0.1}), pendulums(40))

    def test_an_unknown_activation_is_refused(self) -> None:
        refused("torch.nn has no 'Relu'", options={"policy_kwargs": {"activation_fn": "Relu"}})


class TestOptions:
    def test_a_linear_schedule(self) -> None:
        learner = prepared(sb3("PPO", learning_rate="lin_3e-4"), cartpoles(32))
        assert [3e-4, 1.5e-4, 0.0] == [learner.model.lr_schedule(p) for p in (1.0, 0.5, 0.0)]

    @pytest.mark.parametrize(("kind", "name"), [("normal", "Normal"), ("ornstein_uhlenbeck", "OrnsteinUhlenbeck")])
    def test_action_noise(self, kind: str, name: str) -> None:
        learner = prepared(sb3("TD3", action_noise={kind: 0.3}), pendulums(40))
        noise = learner.model.action_noise
        assert f"{name}ActionNoise" == type(noise).__name__
        assert ([0.0], [0.3]) == (noise._mu.tolist(), noise._sigma.tolist())

    def test_an_activation_function_by_name(self) -> None:
        learner = prepared(sb3("PPO", policy_kwargs={"net_arch": [8], "activation_fn": "ELU"}), cartpoles(32))
        assert any(isinstance(m, torch.nn.ELU) for m in learner.model.policy.modules())

    def test_a_training_frequency_as_a_list(self) -> None:
        learner = prepared(sb3("DQN", train_freq=[2, "episode"]), cartpoles(60))
        assert (2, "episode") == (learner.model.train_freq.frequency, learner.model.train_freq.unit.value)

    def test_options_are_left_as_they_were_given(self) -> None:
        options = {"policy_kwargs": {"net_arch": [8]}, "n_steps": 32, "batch_size": 16}
        learner = StableBaselines3(algorithm="PPO", options=options)
        learn_all(prepared(learner, cartpoles(32)), cartpoles(32))
        assert {"policy_kwargs": {"net_arch": [8]}, "n_steps": 32, "batch_size": 16} == options

    @pytest.mark.parametrize("algorithm", ["QRDQN", "TRPO", "A2C", "DDPG", "TQC", "ARS"])
    def test_algorithms_of_both_packages_learn_by_name(self, algorithm: str) -> None:
        continuous = algorithm in ("DDPG", "TQC")
        stream = pendulums(30) if continuous else cartpoles(64)
        options = {"learning_starts": 20, "batch_size": 8, "buffer_size": 100} if algorithm == "TQC" else {}
        if algorithm == "ARS":
            options = {"n_delta": 2, "delta_std": 0.5}
        learner = prepared(sb3(algorithm, **options), stream)
        before = weights(learner)
        learn_all(learner, stream)
        assert [] != differences(before, weights(learner))


class TestEncoder:
    def test_standardize_is_used_in_training_and_in_prediction(self) -> None:
        stream = cartpoles(32, tasks=1)
        encoder = Standardize(clip=None)
        learner = prepared(sb3("PPO"), stream, encoder=encoder)
        learn_one(learner, stream)
        source = stream[0].train
        raw = source.random_observations(5)  # type: ignore[union-attr]
        first, _ = source.make().reset(seed=source.seed)  # type: ignore[union-attr]
        assert np.allclose(
            encoder.encode(torch.as_tensor(first[None])).numpy(), learner.model.rollout_buffer.observations[0]
        )
        encoded = encoder.encode(torch.as_tensor(raw)).numpy()
        assert not np.allclose(raw, encoded)
        expected, _ = learner.model.predict(encoded, deterministic=True)
        assert np.array_equal(expected, learner.predict(raw)[0])

    def test_what_ends_an_episode_is_encoded_too(self) -> None:
        stream = cartpoles(60, tasks=1)
        encoder = Standardize(clip=None)
        learner = prepared(sb3("DQN"), stream, encoder=encoder)
        learn_one(learner, stream)
        buffer = learner.model.replay_buffer
        (ends,) = np.nonzero(buffer.dones[:60, 0])
        raw = (
            buffer.next_observations[ends, 0] / encoder.state_dict()["scale"].numpy()
            + encoder.state_dict()["mean"].numpy()
        )
        # An episode ends beyond 2.4 in place or 12 degrees in angle, which only raw observations can be.
        assert len(ends) > 0
        assert ((np.abs(raw[:, 0]) > 2.4) | (np.abs(raw[:, 2]) > np.deg2rad(12))).all()


def test_greedy_actions_of_several_observations() -> None:
    learner = prepared(sb3("SAC"), pendulums(40))
    actions, state = learner.predict(np.zeros((3, 3), np.float32))
    assert (3, 1) == actions.shape
    assert state is None


def test_a_recurrent_policy_passes_its_state_on() -> None:
    options = {
        "n_steps": 16,
        "batch_size": 16,
        "n_epochs": 1,
        "policy_kwargs": {"net_arch": [8], "lstm_hidden_size": 8},
    }
    learner = prepared(sb3("RecurrentPPO", **options), cartpoles(32))
    x = np.ones((2, 4), np.float32)
    _, first = learner.predict(x)
    _, second = learner.predict(x, state=first)
    _, again = learner.predict(x)
    assert not np.array_equal(first[0], second[0])
    assert np.array_equal(first[0], again[0])
