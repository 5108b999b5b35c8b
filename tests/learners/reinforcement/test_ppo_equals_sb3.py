"""One rollout learned from: our PPO's weights are those of Stable-Baselines3's."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
import torch
from harness import environment_stream, learn_all, ppo, prepared
from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from rlcl.data.sources import Environment
from rlcl.learners.optimizers import Sgd
from rlcl.learners.reinforcement.ppo import Ppo

STEPS, COUNT, EPOCHS = 16, 2, 3


def ours(env: str, **settings: Any) -> tuple[Ppo, Ppo, dict[str, torch.Tensor]]:
    """The learner before and after one rollout, and what that was judged to be."""
    stream = environment_stream(Environment(env, num_envs=COUNT, seed=3, name=env), budget=STEPS * COUNT)
    settings = {"n_steps": STEPS, "batch_size": None, "epochs": EPOCHS, "optimizer": Sgd(lr=0.3), **settings}
    before, after = (prepared(ppo(**settings), stream) for _ in range(2))
    noted: dict[str, torch.Tensor] = {}
    original = Ppo._transition_columns

    def judged(self: Ppo, rollout: Any) -> Any:
        noted.update(original(self, rollout))
        return noted

    Ppo._transition_columns = judged  # type: ignore[method-assign]
    try:
        learn_all(after, stream)
    finally:
        Ppo._transition_columns = original  # type: ignore[method-assign]
    return before, after, noted


def pairs(learner: Ppo, model: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Our parameters and theirs."""
    extractor, policy = model.policy.mlp_extractor, model.policy
    layers = [
        (learner.policy.actor[1], extractor.policy_net[0]),  # type: ignore[index]
        (learner.policy.actor[3], policy.action_net),  # type: ignore[index]
        (learner.policy.critic[1], extractor.value_net[0]),  # type: ignore[index]
        (learner.policy.critic[3], policy.value_net),  # type: ignore[index]
    ]
    found = [(a, b) for x, y in layers for a, b in ((x.weight, y.weight), (x.bias, y.bias))]
    return found if learner.policy.free is None else [*found, (learner.policy.free, policy.log_std)]


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({}, {}),
        (
            {"entropy_weight": 0.05, "value_weight": 1.0, "clip": 0.01},
            {"ent_coef": 0.05, "vf_coef": 1.0, "clip_range": 0.01},
        ),
        ({"normalize_advantages": False, "clip_norm": 1e9}, {"normalize_advantage": False, "max_grad_norm": 1e9}),
    ],
    ids=["as they are", "entropy and a narrow clip", "advantages and gradients as they are"],
)
def test_a_rollout_is_learned_from_as_stable_baselines3_does(
    env: str, settings: dict[str, Any], options: dict[str, Any]
) -> None:
    before, after, rollout = ours(env, **settings)
    model = PPO(
        "MlpPolicy",
        DummyVecEnv([lambda: gym.make(env)] * COUNT),
        n_steps=STEPS,
        batch_size=STEPS * COUNT,
        n_epochs=EPOCHS,
        learning_rate=0.3,
        policy_kwargs={"net_arch": [16], "optimizer_class": torch.optim.SGD, "optimizer_kwargs": {}},
        **options,
    )
    model.set_logger(configure(None, []))
    with torch.no_grad():
        for mine, theirs in pairs(before, model):
            theirs.copy_(mine)
    buffer = model.rollout_buffer
    columns = {"observations": "observations", "actions": "actions", "log_probs": "log_probs"}
    columns |= {"advantages": "advantages", "returns": "returns"}
    for name, column in columns.items():
        held = getattr(buffer, column)
        held[:] = rollout[name].numpy().reshape(held.shape)
    buffer.values[:] = buffer.returns - buffer.advantages
    buffer.full = True
    model.train()
    moved = 0.0
    for (mine, theirs), (start, _) in zip(pairs(after, model), pairs(before, model), strict=True):
        torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=2e-5)
        moved = max(moved, float((start - mine).detach().abs().max()))
    assert moved > 1e-2
