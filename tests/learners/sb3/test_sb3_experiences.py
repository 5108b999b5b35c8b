"""Several environments one after the other: seeds, schedules, budgets, boundaries, saved state."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness import (
    cartpoles,
    differences,
    learn_all,
    learn_one,
    learning,
    pendulums,
    prepared,
    restore,
    sb3,
    snapshot,
)

from rlcl.learners.sb3.learner import StableBaselines3
from rlcl.streams.stream import Stream
from rlcl.types import Budget

CONSTANT = 0.0  # of a schedule that has ended


def rates(learner: Any, stream: Stream) -> list[float]:
    """The learning rate of every update's event."""
    return [e.values["lr"] for e in learn_all(learner, stream)]


class TestSchedules:
    def test_by_default_they_fall_over_each_experience(self) -> None:
        # 4 rollouts an experience; the rate is read after each: 3/4, 2/4, 1/4 and 0 of its start, twice.
        stream = cartpoles(4 * 32)
        learner = prepared(sb3("PPO", learning_rate="lin_0.004"), stream, event_interval=1)
        assert pytest.approx([0.003, 0.002, 0.001, 0.0] * 2, abs=1e-12) == rates(learner, stream)

    def test_over_the_stream_they_fall_once(self) -> None:
        stream = cartpoles(4 * 32)
        learner = prepared(sb3("PPO", learning_rate="lin_0.008", schedule_over="stream"), stream, event_interval=1)
        expected = [0.007, 0.006, 0.005, 0.004, 0.003, 0.002, 0.001, 0.0]
        assert pytest.approx(expected, abs=1e-12) == rates(learner, stream)

    @pytest.mark.parametrize("over", ["experience", "stream"])
    def test_a_budget_that_rollouts_do_not_divide_is_rounded_up_and_never_goes_below_zero(self, over: Any) -> None:
        stream = cartpoles(70, num_envs=2)  # rollouts of 64: 128
        learner = prepared(sb3("PPO", learning_rate="lin_0.004", schedule_over=over), stream, event_interval=1)
        seen = rates(learner, stream)
        assert 2 * 128 == learner.position.step
        assert CONSTANT == seen[-1] == min(seen)

    @pytest.mark.parametrize("over", ["experience", "stream"])
    def test_off_policy_ones_stay_at_zero_where_training_passes_the_budget(self, over: Any) -> None:
        stream = cartpoles(41, num_envs=2)
        learner = prepared(sb3("DQN", learning_rate="lin_0.004", schedule_over=over), stream, event_interval=1)
        for _ in learning(learner, stream):
            assert learner.model._current_progress_remaining >= 0

    def test_exploration_restarts_with_each_experience(self) -> None:
        # Falls from 1 to 0.1 over the first half of 100 env steps.
        options = {"exploration_fraction": 0.5, "exploration_final_eps": 0.1, "train_freq": 1}
        stream = cartpoles(100)
        learner = prepared(sb3("DQN", **options), stream)
        seen: list[list[float]] = []
        for experience in stream:
            seen.append([learner.model.exploration_rate for _ in learner.learn(experience)])
        for rates_of_one in seen:
            # The first step's is computed from the progress before it, which is none.
            assert pytest.approx(1 - 0.9 * np.arange(1, 11) / 50, abs=1e-9) == rates_of_one[:10]
            assert pytest.approx(0.1) == rates_of_one[60] == rates_of_one[-1]

    def test_the_first_action_of_each_experience_explores_in_full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = cartpoles(60)
        learner = prepared(sb3("DQN"), stream)
        collect = learner.model.collect_rollouts
        seen: list[tuple[int, float]] = []

        def watched(*args: Any, **kwargs: Any) -> Any:
            seen.append((learner.model.num_timesteps, learner.model.exploration_rate))
            return collect(*args, **kwargs)

        monkeypatch.setattr(learner.model, "collect_rollouts", watched)
        learn_all(learner, stream)
        assert [1.0, 1.0] == [rate for step, rate in seen if step in (0, 60)]

    def test_exploration_over_the_stream_goes_on(self) -> None:
        options = {"exploration_fraction": 1.0, "exploration_final_eps": 0.0, "train_freq": 1}
        stream = cartpoles(50)
        learner = prepared(sb3("DQN", schedule_over="stream", **options), stream)
        learn_one(learner, stream)
        next(learner.learn(stream[1]))
        assert pytest.approx(1 - 51 / 100, abs=1e-9) == learner.model.exploration_rate


class TestEnvironments:
    def test_each_experience_has_new_environments_with_seeds_of_their_own(self) -> None:
        stream = cartpoles(32, num_envs=2)
        learner = prepared(sb3("PPO"), stream)
        firsts = []
        for experience in stream:
            learn_one(learner, stream)
            observations = learner.model.rollout_buffer.observations.reshape(2, 32, 4)[:, 0]
            source = experience.train
            expected = [source.make().reset(seed=source.seed + i)[0] for i in range(2)]  # type: ignore[union-attr]
            assert np.allclose(expected, observations)
            firsts.append(observations)
        assert not np.allclose(firsts[0], firsts[1])

    def test_the_second_one_has_its_own_attributes(self) -> None:
        stream = cartpoles(32)
        learner = prepared(sb3("PPO"), stream)
        seen = []
        for experience in stream:
            seen += [learner.model.env.envs[0].unwrapped.gravity for _ in learner.learn(experience)]
        assert [9.8, 40] == seen

    def test_they_are_closed_when_their_experience_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from stable_baselines3.common.vec_env import DummyVecEnv

        closed: list[Any] = []

        def close(self: DummyVecEnv) -> None:
            closed.append(self)

        monkeypatch.setattr(DummyVecEnv, "close", close)
        stream = cartpoles(32)
        learner = prepared(sb3("PPO"), stream)
        for experience in stream:
            for _ in learner.learn(experience):
                used = learner.model.env
            assert used.unwrapped is closed[-1]

    def test_its_replay_buffer_is_kept_from_one_to_the_next(self) -> None:
        stream = cartpoles(60)
        learner = prepared(sb3("DQN"), stream)
        sizes = []
        for _ in stream:
            learn_one(learner, stream)
            sizes.append(learner.model.replay_buffer.size())
        assert [60, 120] == sizes

    def test_statistics_of_episodes_start_anew(self) -> None:
        stream = cartpoles(64)
        learner = prepared(sb3("PPO"), stream, event_interval=1)
        learn_one(learner, stream)
        before = len(learner.model.ep_info_buffer)
        next(learner.learn(stream[1]))
        assert len(learner.model.ep_info_buffer) < before + 1
        assert all(info["l"] <= 32 for info in learner.model.ep_info_buffer)

    def test_hidden_boundaries_are_one_experience_over_all_environments(self) -> None:
        stream = cartpoles(64, boundaries="hidden")
        learner = prepared(sb3("PPO"), stream)
        places = [(learner.position.segment, learner.position.update) for _ in learning(learner, stream)]
        assert [(0, 32), (1, 0), (1, 32), (0, 0)] == places

    def test_n_step_returns_do_not_reach_into_the_next_environment(self) -> None:
        # What is left of an episode at the boundary must not be continued by the next environment's rewards.
        stream = cartpoles(60)
        learner = prepared(sb3("DQN", n_steps=3, gamma=0.5), stream)
        learn_one(learner, stream)
        last = learner.model.replay_buffer.pos - 1
        assert 0.0 == learner.model.replay_buffer.dones[last, 0]
        learn_one(learner, stream)
        buffer = learner.model.replay_buffer
        drawn = buffer._get_samples(np.array([last]))
        assert 1.0 == float(drawn.rewards)
        assert 0.0 == float(drawn.dones)
        assert 0.5 == float(drawn.discounts)
        assert np.array_equal(buffer.next_observations[last, 0], drawn.next_observations.numpy()[0])

    def test_a_buffer_that_shares_observations_ends_the_episode_at_the_boundary(self) -> None:
        stream = cartpoles(60)
        options = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
        learner = prepared(sb3("DQN", **options), stream)
        learn_one(learner, stream)
        assert 0.0 == learner.model.replay_buffer.dones[59, 0]
        learn_one(learner, stream)
        assert 1.0 == learner.model.replay_buffer.dones[59, 0]


class TestBudget:
    @pytest.mark.parametrize(
        ("algorithm", "budget", "expected"), [("PPO", 33, 64), ("A2C", 8, 8), ("A2C", 9, 16), ("DQN", 33, 33)]
    )
    def test_it_is_rounded_up_to_whole_rollouts(self, algorithm: str, budget: int, expected: int) -> None:
        stream = cartpoles(budget, tasks=1)
        assert expected == prepared(sb3(algorithm), stream).steps(stream[0])

    def test_n_step_returns_round_nothing(self) -> None:
        stream = cartpoles(40, tasks=1)
        assert 40 == prepared(sb3("DQN", n_steps=3), stream).steps(stream[0])

    def test_every_learner_step_is_an_env_step_of_all_environments(self) -> None:
        stream = cartpoles(128, num_envs=4, tasks=1)
        learner = prepared(sb3("A2C"), stream)
        steps = [learner.position.step for _ in learning(learner, stream)]
        assert [32, 64, 96, 128] == steps

    def test_epochs_are_refused_with_the_remedy(self) -> None:
        import attrs

        from rlcl.errors import UnsupportedError

        stream = cartpoles(32, tasks=1)
        stream = attrs.evolve(stream, experiences=[attrs.evolve(stream[0], budget=Budget(epochs=1))])
        with pytest.raises(UnsupportedError, match=r"budget\.epochs: .* write \{env_steps: N\}"):
            prepared(sb3("PPO"), stream)


RESUMED: dict[str, tuple[Any, Any]] = {
    "PPO": (lambda: sb3("PPO", learning_rate="lin_3e-3"), lambda: cartpoles(64, num_envs=2)),
    "PPO gSDE": (lambda: sb3("PPO", use_sde=True), lambda: pendulums(64)),
    # 60 env steps are no multiple of the target's interval, so that its count matters.
    "DQN": (lambda: sb3("DQN", target_update_interval=7), lambda: cartpoles(60)),
    "DQN full buffer": (lambda: sb3("DQN", buffer_size=50), lambda: cartpoles(60)),
    "DQN n_steps": (lambda: sb3("DQN", n_steps=3), lambda: cartpoles(60)),
    "DQN shared observations": (
        lambda: sb3("DQN", optimize_memory_usage=True, replay_buffer_kwargs={"handle_timeout_termination": False}),
        lambda: cartpoles(60),
    ),
    "QRDQN": (lambda: sb3("QRDQN"), lambda: cartpoles(60)),
    "SAC": (lambda: sb3("SAC"), lambda: pendulums(40)),
    "SAC fixed temperature": (lambda: sb3("SAC", ent_coef=0.1), lambda: pendulums(40)),
    "TD3": (lambda: sb3("TD3", action_noise={"normal": 0.1}), lambda: pendulums(40, num_envs=2)),
    "RecurrentPPO": (
        lambda: sb3(
            "RecurrentPPO",
            n_steps=16,
            batch_size=16,
            n_epochs=1,
            policy_kwargs={"net_arch": [8], "lstm_hidden_size": 8},
        ),
        lambda: cartpoles(32),
    ),
}


@pytest.mark.parametrize("name", RESUMED)
def test_saved_at_a_boundary_the_second_experience_ends_with_the_same_bits(name: str) -> None:
    make, stream = RESUMED[name]
    through = prepared(make(), stream())
    learn_one(through, stream())
    state = snapshot(through)
    learn_one(through, stream())
    fresh = prepared(make(), stream(), seed=9)
    restore(fresh, state)
    learn_one(fresh, stream())
    assert [] == differences(snapshot(through), snapshot(fresh))


def test_the_saved_state_holds_temperature_and_replay_buffer() -> None:
    learner = prepared(sb3("SAC"), pendulums(40))
    learn_one(learner, pendulums(40))
    state = learner.state_dict()["model"]
    assert ["log_ent_coef"] == list(state["variables"])
    assert "ent_coef_optimizer" in state["parameters"]
    assert (40, 1, 3) == tuple(state["buffer"]["arrays"]["observations"].shape)
    assert (40, False) == (state["buffer"]["pos"], state["buffer"]["full"])


def test_targets_are_saved_too() -> None:
    learner = prepared(sb3("DQN"), cartpoles(60))
    learn_one(learner, cartpoles(60))
    names = learner.state_dict()["model"]["parameters"]["policy"]
    assert any(name.startswith("q_net_target") for name in names)


def test_a_run_that_went_on_is_not_touched_by_loading_its_state() -> None:
    stream = cartpoles(60)
    first = prepared(sb3("DQN"), stream)
    learn_one(first, stream)
    state = first.state_dict()
    second = prepared(sb3("DQN"), stream, seed=3)
    second.load_state_dict(state)
    learn_one(second, stream)
    assert isinstance(first, StableBaselines3)
    assert [] == differences(state, first.state_dict())
    assert not torch.equal(
        state["model"]["buffer"]["arrays"]["rewards"], second.state_dict()["model"]["buffer"]["arrays"]["rewards"]
    )


@pytest.mark.parametrize(
    ("algorithm", "stream"), [("PPO", cartpoles(32)), ("DQN", cartpoles(40)), ("SAC", pendulums(40))]
)
def test_no_folder_is_left_in_the_system_s_temporary_one(
    algorithm: str, stream: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SB3_LOGDIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    learn_all(prepared(sb3(algorithm), stream), stream)
    assert [] == list(tmp_path.glob("SB3-*"))
