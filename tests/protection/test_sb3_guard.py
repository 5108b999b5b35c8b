"""Guards of models of Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stable_baselines3 import DQN, PPO, SAC
from torch import Tensor

import rlcl
from rlcl.errors import UnsupportedError
from rlcl.protection.guard import GuardError

POLICY = {"net_arch": [16]}


def ppo() -> PPO:
    return PPO("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=16, n_epochs=1, seed=0, policy_kwargs=POLICY)


def dqn() -> DQN:
    return DQN("MlpPolicy", "CartPole-v1", learning_starts=8, buffer_size=60, seed=0, policy_kwargs=POLICY)


def weights(model: Any) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.policy.named_parameters()}


def test_a_penalty_holds_the_policy_in_the_next_experience() -> None:
    free, held = ppo(), ppo()
    guards = [
        rlcl.protect(model, methods=[rlcl.Ewc(strength=strength)]) for model, strength in ((free, 0.0), (held, 1e3))
    ]
    moved = []
    for model, guard in zip((free, held), guards, strict=True):
        with guard.experience():
            model.learn(64)
        before = weights(model)
        with guard.experience():
            model.learn(128, reset_num_timesteps=False)
        moved.append(sum(float((p - before[name]).square().sum()) for name, p in weights(model).items()))
    assert 2 == guards[1].experiences
    assert 0 < guards[1].quantities()["ewc/penalty"]
    assert moved[1] < moved[0]


@pytest.mark.parametrize("reset", [True, False])
def test_samples_are_of_the_experience_that_has_ended(reset: bool) -> None:
    model = dqn()
    guard = rlcl.protect(model, methods=[rlcl.Si()])
    for steps in (40, 12, 32, 200):  # multiples of train_freq
        with guard.experience():
            model.learn(steps, reset_num_timesteps=reset)
        sample = guard.host.sample(None, rlcl.Seeds(0).numpy()).inputs
        assert min(steps, 60) == len(sample)
    assert model.replay_buffer is not None
    expected = torch.as_tensor(model.replay_buffer.observations.reshape(-1, 4))
    assert sorted(map(tuple, expected.tolist())) == sorted(map(tuple, sample.tolist()))


def test_a_stored_state_is_restored() -> None:
    model, other = ppo(), ppo()
    guards = [rlcl.protect(each, methods=[rlcl.Ewc(strength=10.0)]) for each in (model, other)]
    with guards[0].experience():
        model.learn(64)
    other.policy.load_state_dict(model.policy.state_dict())
    guards[1].load_state_dict(guards[0].state_dict())
    assert 1 == guards[1].experiences
    with torch.no_grad():
        next(other.policy.parameters()).add_(1.0)
    with guards[1].experience():
        pass
    assert 0 < guards[1].quantities()["ewc/penalty"]


def test_what_does_not_fit_is_named() -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", buffer_size=50)
    with pytest.raises(UnsupportedError, match=r"methods\[0\]: rehearsal does not support .*its minibatches are not"):
        rlcl.protect(model, methods=[rlcl.Rehearsal(capacity=10)])
    with pytest.raises(UnsupportedError, match="has its own optimizer and loss; give the methods only"):
        rlcl.protect(model, model.actor.optimizer, [rlcl.Si()])  # type: ignore[call-overload]
    guard = rlcl.protect(model, methods=[rlcl.Si()])
    with pytest.raises(UnsupportedError, match="collects its own data"):
        guard.begin(torch.zeros(3))
    unguarded = ppo()
    rlcl.protect(unguarded, methods=[rlcl.Si()])
    with pytest.raises(GuardError, match="outside an experience"):
        unguarded.learn(32)
