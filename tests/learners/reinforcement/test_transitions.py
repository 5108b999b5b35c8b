"""Collected transitions, the loss on given transitions, and the evaluation of actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from harness import cartpoles, dqn, environment_stream, learn_all, learn_one, pendulums, ppo, prepared, sac, td3
from probes import Forbidding, Probe
from torch import Tensor

from rlcl.data.sources import Environment
from rlcl.learners.reinforcement.recurrent import Recurrent
from rlcl.learners.reinforcement.replay import ReplayBuffer
from rlcl.learners.reinforcement.transition_batch import n_step_batch
from rlcl.networks.mlp import Mlp
from rlcl.types import BehaviourHost, TransitionHost, Transitions

OFF_POLICY = {"learning_starts": 8, "batch_size": 8, "capacity": 400, "train_every": 12, "network": Mlp(hidden=(8,))}
ROLLOUT = {"n_steps": 16, "batch_size": None, "epochs": 1, "network": Mlp(hidden=(8,))}


class NoNoise(np.random.Generator):
    """A source of normal noise that is zero."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def standard_normal(self, size: Any = None, dtype: Any = np.float32, out: Any = None) -> Any:
        return np.zeros(size, dtype)


def observing(learner: Any, key: str, observe: Any) -> None:
    learner.optimizers[key].register_step_pre_hook(lambda *_: observe())


def gradients_of(loss: Tensor, module: torch.nn.Module) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, list(module.parameters()), allow_unused=True))


def assert_same(expected: list[Tensor | None], actual: list[Tensor | None]) -> None:
    assert any(g is not None and g.abs().sum() > 0 for g in expected)
    for one, other in zip(expected, actual, strict=True):
        if one is None or other is None:
            assert all(g is None or not g.any() for g in (one, other))
        else:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def grads(module: torch.nn.Module) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in module.parameters()]


def masked(budget: int, **kwargs: Any) -> Any:
    return environment_stream(
        Environment(Forbidding, kwargs=kwargs, num_envs=2, seed=3, name="forbidding"), budget=budget
    )


PPO_CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "discrete": ({}, lambda: cartpoles(32, num_envs=2)),
    "continuous": ({"entropy_weight": 0.1}, lambda: pendulums(32, num_envs=2)),
    "shared": ({"shared": True}, lambda: cartpoles(32, num_envs=2)),
    "unclipped": ({"clip": None, "normalize_advantages": False, "gae_lambda": 1.0}, lambda: cartpoles(32, num_envs=2)),
    "masked": ({"entropy_weight": 0.1}, lambda: masked(32)),
    "choices": ({"entropy_weight": 0.1}, lambda: masked(32, several=True)),
}


@pytest.mark.parametrize("case", PPO_CASES)
def test_the_loss_of_ppo_on_its_own_rollout_has_the_gradient_of_its_update(case: str) -> None:
    settings, stream = PPO_CASES[case]
    learner, compared = prepared(ppo(**{**ROLLOUT, "clip_norm": None, **settings}), stream()), []
    host = learner.host
    assert isinstance(host, BehaviourHost)

    def compare() -> None:
        expected = grads(host.modules["policy"])
        loss = host.transition_loss("policy", host.collected, NoNoise())
        assert_same(expected, gradients_of(loss, host.modules["policy"]))
        current = host.evaluate_actions(host.collected)
        torch.testing.assert_close(current.log_probs, host.collected.log_probs, rtol=1e-4, atol=1e-5)
        compared.append(loss)

    observing(learner, "policy", compare)
    learn_one(learner, stream())
    assert len(compared) >= 1


def off_policy_case(case: str) -> tuple[Any, Any]:
    settings = {**OFF_POLICY, "n_step": 3, "clip_norm": None}
    if case.startswith("dqn"):
        options = {"double": "double" in case, "dueling": "dueling" in case}
        stream = masked(72) if "masked" in case else cartpoles(72, num_envs=2)
        return prepared(dqn(**settings, **options), stream), stream
    stream = pendulums(72, num_envs=2)
    # A learned temperature changes before the other updates.
    learner = sac(**settings, entropy=0.2) if case == "sac" else td3(**settings)
    return prepared(learner, stream), stream


@pytest.mark.parametrize("case", ["dqn", "dqn double", "dqn dueling double", "dqn masked double", "sac", "td3"])
def test_the_loss_on_transitions_has_the_gradient_of_an_update_on_them(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, stream = off_policy_case(case)
    host, rounds, compared = learner.host, [], []
    assert isinstance(host, TransitionHost)
    observing(learner, host.primary, lambda: rounds.append(host.collected))
    learn_one(learner, stream)
    transitions = rounds[-1]
    learner.batch_size = transitions.rewards.numel()

    def compare(key: str) -> None:
        loss = host.transition_loss(key, transitions, NoNoise())
        assert_same(grads(host.modules[key]), gradients_of(loss, host.modules[key]))
        compared.append(key)

    for key in host.modules:
        observing(learner, key, lambda key=key: compare(key))
    monkeypatch.setattr(torch, "randn", lambda shape, **_: torch.zeros(shape))
    for _ in range(2):  # td3 updates its actor every second time
        learner.update_on(n_step_batch(transitions, learner.gamma, 3))
    assert set(compared) == set(host.modules)


@pytest.mark.parametrize("n", [1, 3, 50])
@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_n_step_transitions_of_sequences_are_those_of_a_replay_buffer(n: int, end: str) -> None:
    stream = environment_stream(
        *[Environment(Probe, kwargs={"length": 5, "end": end}, num_envs=2, seed=1, name="probe")], budget=24
    )
    learner, rounds = prepared(dqn(**{**OFF_POLICY, "train_every": 24, "learning_starts": 0}), stream), []
    observing(learner, "policy", lambda: rounds.append(learner.host.collected))
    learn_all(learner, stream)
    buffer: ReplayBuffer = learner.buffer
    # Rows of the buffer in order of time, one column per environment.
    valid = np.flatnonzero(buffer.valid).reshape(2, -1).T
    expected = buffer.at(valid.reshape(-1), 0.9, n)
    actual = n_step_batch(rounds[0], 0.9, n)
    for name in ("observations", "actions", "rewards", "next_observations", "discounts"):
        torch.testing.assert_close(torch.from_numpy(getattr(expected, name)), getattr(actual, name), msg=name)


def test_n_step_transitions_by_hand() -> None:
    column = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    ended = torch.tensor([[False], [True], [False], [False]])
    x = torch.arange(4.0)[:, None, None]
    transitions = Transitions(x, column.long(), column, x + 1, ended, ended)
    batch = n_step_batch(transitions, 0.5, 2)
    assert [2.0, 2.0, 8.0, 8.0] == batch.rewards.tolist()
    assert [0.0, 0.0, 0.25, 0.5] == batch.discounts.tolist()
    assert [2.0, 2.0, 4.0, 4.0] == batch.next_observations.flatten().tolist()


@pytest.mark.parametrize("case", ["ppo", "dqn"])
def test_transitions_are_those_that_the_environment_made(case: str) -> None:
    source = Environment(Probe, kwargs={"length": 3, "end": "truncated", "last": 7.0}, num_envs=2, seed=1, name="probe")
    stream = environment_stream(source, budget=16)
    settings = {**ROLLOUT, "n_steps": 8} if case == "ppo" else {**OFF_POLICY, "train_every": 16, "learning_starts": 0}
    learner, seen = prepared({"ppo": ppo, "dqn": dqn}[case](**settings), stream), []
    observing(learner, "policy", lambda: seen.append(learner.host.collected))
    assert learner.host.collected is None
    learn_all(learner, stream)
    assert learner.host.collected is None
    assert all(one is seen[0] for one in seen)
    transitions = seen[0]
    assert (8, 2) == tuple(transitions.rewards.shape)
    for name, expected in {
        "observations": [0, 1, 2, 0, 1, 2, 0, 1],
        "next_observations": [1, 2, 3, 1, 2, 3, 1, 2],
        "rewards": [1, 1, 7, 1, 1, 7, 1, 1],
        "ended": [0, 0, 1, 0, 0, 1, 0, 0],
        "terminated": [0] * 8,
    }.items():
        assert [expected] * 2 == getattr(transitions, name).flatten(1).T.int().tolist(), name


def test_a_recurrent_policy_gives_no_transitions_and_says_why() -> None:
    host = prepared(ppo(recurrent=Recurrent(), **ROLLOUT), cartpoles(32)).host
    assert not {"transitions", "log_probs"} & host.provides
    assert "recurrent: null" in host.lacking["transitions"]


def test_a_replay_buffer_smaller_than_a_round_gives_no_transitions() -> None:
    host = prepared(dqn(**{**OFF_POLICY, "capacity": 24}), cartpoles(32)).host
    assert "transitions" not in host.provides
    assert "capacity" in host.lacking["transitions"]
