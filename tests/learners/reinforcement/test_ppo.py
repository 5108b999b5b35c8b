"""PPO's options, each by what it is said to mean."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from harness import cartpoles, differences, environment_stream, learn_all, learning, pendulums, ppo, prepared, weights
from probes import Forbidding, Signs

from rlcl.data.sources import Environment
from rlcl.errors import EnvironmentApiError, UnsupportedError
from rlcl.evaluation.episodes import run_episodes
from rlcl.learners.optimizers import Adam, RmsProp, Sgd
from rlcl.learners.reinforcement.ppo import Ppo
from rlcl.methods.redo import Redo
from rlcl.methods.reset import Reset
from rlcl.networks.cnn import Cnn
from rlcl.networks.mlp import Mlp

A2C: dict[str, Any] = {
    "n_steps": 5,
    "epochs": 1,
    "batch_size": None,
    "clip": None,
    "normalize_advantages": False,
    "gae_lambda": 1.0,
    "entropy_weight": 0.01,
}


class TestItsSpecialCaseA2C:
    def learner(self) -> Ppo:
        """After one rollout, which plain gradient descent with a rate of 1 has learned from."""
        stream = cartpoles(20, num_envs=4, tasks=1)
        self.before = prepared(ppo(**A2C, clip_norm=None), stream)
        learner: Ppo = prepared(ppo(**A2C, clip_norm=None, optimizer=Sgd(lr=1.0)), stream)
        self.rollout: dict[str, torch.Tensor] = {}
        judged = learner._transition_columns

        def noted(rollout: Any) -> Any:
            self.rollout = dict(judged(rollout))
            return self.rollout

        Ppo._transition_columns, original = (lambda _, rollout: noted(rollout)), Ppo._transition_columns  # type: ignore[method-assign]
        try:
            learn_all(learner, stream)
        finally:
            Ppo._transition_columns = original  # type: ignore[method-assign]
        return learner

    def test_its_step_is_along_the_gradient_of_a2c(self) -> None:
        learner = self.learner()
        policy, rollout = self.before.policy, self.rollout
        # Mnih et al. 2016, section 4.3: advantage times log-probability, values towards returns, and the entropy.
        log_p = policy.actor(rollout["observations"]).log_softmax(1)
        chosen = log_p.gather(1, rollout["actions"][:, None])[:, 0]
        values = policy.critic(rollout["observations"])[:, 0]
        loss = (
            -(rollout["advantages"] * chosen).mean()
            + 0.5 * (rollout["returns"] - values).square().mean()
            + 0.01 * (log_p.exp() * log_p).sum(1).mean()
        )
        loss.backward()
        after = weights(learner)
        for name, parameter in policy.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.detach() - parameter.grad, after[f"policy.{name}"])

    def test_with_lambda_1_returns_are_sums_of_discounted_rewards_and_a_last_value(self) -> None:
        self.learner()
        rows = self.rollout["returns"].reshape(5, 4)
        # CartPole pays 1 a step, and no episode ends within five.
        last = (rows[4] - 1) / 0.99
        expected = [sum(0.99**k for k in range(5 - t)) + 0.99 ** (5 - t) * last for t in range(5)]
        torch.testing.assert_close(torch.stack(expected), rows)

    def test_it_runs_with_the_optimizer_that_it_is_known_with(self) -> None:
        stream = cartpoles(40, num_envs=4, tasks=1)
        learner = prepared(ppo(**A2C, optimizer=RmsProp(lr=7e-4, epsilon=1e-5)), stream)
        before = weights(learner)
        learn_all(learner, stream)
        assert [] != differences(before, weights(learner))


class TestOneNetworkForBoth:
    def test_it_has_a_head_for_each_and_their_gains(self) -> None:
        network = Mlp(hidden=(16,), activation="tanh", initialization="orthogonal")
        learner = prepared(ppo(shared=True, network=network), cartpoles(16))
        head = learner.policy.actor[-1].weight
        assert (3, 16) == tuple(head.shape)
        assert torch.allclose(torch.tensor([0.01, 0.01, 1.0]), head.norm(dim=1))
        assert torch.allclose(torch.tensor(2.0).sqrt(), learner.policy.actor[1].weight.norm(dim=0))

    def test_what_it_predicts_are_actions_alone(self) -> None:
        learner = prepared(ppo(shared=True), cartpoles(16))
        with torch.no_grad():  # values far above all logits
            learner.policy.actor[-1].bias.copy_(torch.tensor([0.0, 1.0, 99.0]))
        assert [1] * 4 == learner.predict(np.zeros((4, 4), np.float32))[0].tolist()
        assert (4, 2) == tuple(learner.outputs(torch.zeros(4, 4)).shape)

    @pytest.mark.parametrize("space", ["discrete", "continuous"])
    def test_it_finds_what_pays(self, space: str) -> None:
        source = Environment(Signs, kwargs={"continuous": space == "continuous"}, name="signs")
        stream = environment_stream(source, budget=1000)
        settings = {"n_steps": 32, "batch_size": 16, "epochs": 8, "optimizer": Adam(lr=0.01)}
        learner = prepared(ppo(shared=True, **settings), stream)
        learn_all(learner, stream)
        first, second = np.ravel(learner.predict(np.array([[-1.0], [1.0]], np.float32))[0])
        assert first < 0.5 < second or first < 0 < second

    def test_it_serves_images_through_one_trunk(self) -> None:
        stream = environment_stream(images(), budget=16)
        learner = prepared(ppo(shared=True, network=Cnn(channels=(4,), hidden=(8,))), stream)
        learn_all(learner, stream)
        assert 1 == sum(isinstance(m, torch.nn.Conv2d) for m in learner.policy.modules())


class Image(gym.Env[Any, Any]):
    """Random images of 8 by 8, three channels, of bytes."""

    observation_space = gym.spaces.Box(0, 255, (3, 8, 8), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.integers(0, 256, (3, 8, 8), dtype=np.uint8), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.np_random.integers(0, 256, (3, 8, 8), dtype=np.uint8), 1.0, False, False, {}


def images() -> Environment:
    return Environment(Image, name="images")


class TestActionMasks:
    """Forbidding allows one action, or a few, at each state; others would pay more."""

    SAID = ("info", "method")

    def source(self, said: str, **kwargs: Any) -> Environment:
        return Environment(Forbidding, kwargs={"said": said, **kwargs}, num_envs=3, name="forbidding")

    @pytest.mark.parametrize("several", [False, True])
    @pytest.mark.parametrize("said", SAID)
    def test_what_is_forbidden_is_neither_done_nor_learned_from(self, said: str, several: bool) -> None:
        stream = environment_stream(self.source(said, several=several), budget=96)
        learner = prepared(ppo(n_steps=16), stream)
        for event in learning(learner, stream):  # the environment raises where it is done
            assert event is None or event.values["entropy"] < np.log(2) + 1e-6  # of two choices, never of three
        learner.outputs(torch.zeros(1, 1))

    @pytest.mark.parametrize("said", SAID)
    def test_it_is_not_done_in_evaluation_either(self, said: str) -> None:
        source = self.source(said)
        learner = prepared(ppo(), environment_stream(source, budget=24))
        assert [6.0] * 4 == run_episodes(learner, source, 4, 100, None).returns.tolist()

    def test_probabilities_are_those_of_what_is_allowed(self) -> None:
        learner = prepared(ppo(), environment_stream(self.source("info"), budget=24))
        with torch.no_grad():
            learner.policy.actor[-1].bias.copy_(torch.tensor([0.0, 5.0, 1.0]))
        states = np.zeros((2, 1), np.float32)
        allowed = np.array([[True, False, True], [True, True, False]])
        assert [2, 1] == learner.predict(states, action_masks=allowed)[0].tolist()
        assert [1, 1] == learner.predict(states)[0].tolist()

    def test_masks_may_be_left_unread(self) -> None:
        source = self.source("info", lenient=True)
        stream = environment_stream(source, budget=96)
        learner = prepared(ppo(n_steps=16, action_masks=False), stream)
        assert learn_all(learner, stream)[-1].values["entropy"] > np.log(2)

    def test_an_environment_that_allows_nothing_is_told(self) -> None:
        source = self.source("info", nothing=True)
        stream = environment_stream(source, budget=96)
        with pytest.raises(EnvironmentApiError, match="environment 0 of 3 allows no action;"):
            learn_all(prepared(ppo(), stream), stream)


def test_several_choices_at_once_are_learned() -> None:
    class Two(Signs):
        def __init__(self) -> None:
            super().__init__()
            self.action_space = gym.spaces.MultiDiscrete([2, 3])

        def step(self, action: Any) -> Any:
            observation, _, *rest = super().step(0)
            right = int(action[0] == (self.sign > 0)) + int(action[1] == 2)  # numpy's True + True is True
            return observation, float(right), *rest

    stream = environment_stream(Environment(Two, name="two"), budget=1200)
    learner = prepared(ppo(n_steps=32, batch_size=16, epochs=8, optimizer=Adam(lr=0.01)), stream)
    learn_all(learner, stream)
    assert [[0, 2], [1, 2]] == learner.predict(np.array([[-1.0], [1.0]], np.float32))[0].tolist()


def test_passes_end_where_the_policy_has_moved_far_enough() -> None:
    stream = cartpoles(32, tasks=1)
    settings = {"n_steps": 32, "batch_size": None, "epochs": 50, "optimizer": Adam(lr=0.01)}
    (bound,), (free,) = (learn_all(prepared(ppo(**settings, target_kl=kl), stream), stream) for kl in (1e-4, None))
    assert free.values["approx_kl"] > 1e-3
    steps = []
    for kl in (1e-4, None):
        learner = prepared(ppo(**settings, target_kl=kl), stream)
        learner.torch_optimizer.register_step_post_hook(lambda *_: steps.append(1))
        steps.clear()
        learn_all(learner, stream)
        assert len(steps) == 50 if kl is None else 1 <= len(steps) < 20
    assert bound.values["approx_kl"] < free.values["approx_kl"]


def test_the_clip_falls_to_nothing_with_its_schedule() -> None:
    stream = cartpoles(256, tasks=1)
    learner = prepared(ppo(n_steps=32, batch_size=None, epochs=3, clip_schedule=True), stream)
    seen: list[float | None] = []
    original = Ppo._run_epoch

    def noted(self: Ppo, columns: Any, clip: float | None, last: bool) -> bool:
        seen.append(clip)
        return original(self, columns, clip, last)

    Ppo._run_epoch = noted  # type: ignore[method-assign]
    try:
        learn_all(learner, stream)
    finally:
        Ppo._run_epoch = original  # type: ignore[method-assign]
    assert pytest.approx([0.2 * (1 - k / 8) for k in range(8)]) == seen[::3]


def test_the_gradient_that_is_stepped_along_is_no_longer_than_the_norm() -> None:
    stream = cartpoles(64, tasks=1)
    learner = prepared(ppo(n_steps=32, clip_norm=1e-3), stream)
    norms = []

    def note(*_: Any) -> None:
        squares = [p.grad.square().sum() for p in learner.policy.parameters() if p.grad is not None]
        norms.append(float(torch.stack(squares).sum().sqrt()))

    learner.torch_optimizer.register_step_pre_hook(note)
    learn_all(learner, stream)
    assert norms
    assert max(norms) <= 1e-3 * 1.001


def test_reset_draws_both_heads_anew() -> None:
    stream = cartpoles(64)
    learner = prepared(ppo(Reset(layers=1), n_steps=32), stream)
    learn_all(learner, stream[:1])
    before = weights(learner)
    learner._attached.begin(stream[1], None)
    changed = sorted({d.split(":")[0] for d in differences(before, weights(learner))})
    assert ["/policy.actor.3.weight", "/policy.critic.3.weight"] == [c for c in changed if c.endswith("weight")]


def test_units_are_replaced_where_actions_are_continuous_too() -> None:
    stream = pendulums(64, tasks=1)
    learners = [prepared(ppo(*m, n_steps=32), stream) for m in ((), (Redo(threshold=0.9, every=3),))]
    for learner in learners:
        learn_all(learner, stream)
    assert [] != differences(*map(weights, learners))


def test_actions_that_cannot_be_drawn_are_refused() -> None:
    class Whole(Signs):
        def __init__(self) -> None:
            super().__init__()
            self.action_space = gym.spaces.Box(0, 9, (1,), np.int64)

    with pytest.raises(UnsupportedError, match=r"no distribution over actions of Box.*; expected Discrete"):
        prepared(ppo(), environment_stream(Environment(Whole, name="whole"), budget=8))


def test_actions_without_bounds_are_given_as_they_are_drawn() -> None:
    class Free(Signs):
        def __init__(self) -> None:
            super().__init__(continuous=True)
            self.action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)

    stream = environment_stream(Environment(Free, name="free"), budget=64)
    learner = prepared(ppo(n_steps=32, log_std=2.0), stream)
    learn_all(learner, stream)
    assert all(bool(w.isfinite().all()) for w in weights(learner).values())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    "stream",
    [
        lambda: cartpoles(64, num_envs=2, vectorization="native"),
        lambda: pendulums(64, num_envs=2),
        lambda: environment_stream(Environment(Forbidding, num_envs=2, name="forbidding"), budget=64),
    ],
    ids=["discrete", "continuous", "masked"],
)
def test_before_the_first_update_nothing_has_become_more_or_less_likely(stream: Any, shared: bool) -> None:
    learner = prepared(ppo(epochs=1, batch_size=None, shared=shared), stream(), event_interval=1)
    for event in learn_all(learner, stream()):
        assert abs(event.values["approx_kl"]) < 1e-6
        assert 0.0 == event.values["clip_fraction"]
