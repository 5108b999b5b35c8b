"""What learners of reinforcement learning share, piece by piece."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import cartpoles, learn_all, prepared
from torch import nn

from rlcl.learners.optimizers import Adam
from rlcl.learners.reinforcement.dqn import Dqn
from rlcl.learners.reinforcement.learner import clip_gradients
from rlcl.learners.reinforcement.ppo import Ppo
from rlcl.learners.schedules import Constant
from rlcl.networks.mlp import Mlp


@pytest.mark.parametrize("norm", [1e-2, 1e9])
def test_gradients_are_clipped_as_torch_does_bit_for_bit(norm: float) -> None:
    module = Mlp(hidden=(8, 8)).build((3,), 2)
    unused = nn.Parameter(torch.ones(2))  # a head that this batch does not reach
    optimizer = torch.optim.SGD([*module.parameters(), unused], lr=0.0)
    module(torch.randn(5, 3)).square().sum().backward()
    gradients = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    expected = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for parameter, gradient in zip(expected, gradients, strict=True):
        parameter.grad = gradient
    nn.utils.clip_grad_norm_(expected, norm)
    clip_gradients(optimizer, norm)
    optimizer.step()
    for ours, theirs in zip(module.parameters(), expected, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.equal(theirs.grad, ours.grad)


@pytest.mark.parametrize(
    ("kind", "settings", "warmup", "expected"),
    [
        # Four rounds of 16 env steps, of which two rise, or three.
        (Ppo, {"n_steps": 16, "batch_size": 8, "epochs": 2}, 0.5, [0.5, 1, 1, 1]),
        (Ppo, {"n_steps": 16, "batch_size": 8, "epochs": 2}, 0.75, [1 / 3, 2 / 3, 1, 1]),
        (Dqn, {"train_every": 16, "learning_starts": 1, "batch_size": 8}, 0.5, [0.5, 1, 1, 1]),
    ],
)
def test_a_warm_up_rises_from_round_to_round(
    kind: Any, settings: dict[str, Any], warmup: float, expected: list[float]
) -> None:
    stream = cartpoles(64, tasks=1)
    learner = kind(schedule=Constant(warmup=warmup), optimizer=Adam(lr=0.01), **settings)
    events = learn_all(prepared(learner, stream, event_interval=16), stream)
    assert pytest.approx([0.01 * factor for factor in expected]) == [event.values["lr"] for event in events]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Ppo, {"n_steps": 16, "batch_size": 8, "epochs": 2}),
        (Dqn, {"train_every": 16, "learning_starts": 1, "batch_size": 8}),
    ],
)
def test_the_last_gradients_are_part_of_the_state(kind: Any, settings: dict[str, Any]) -> None:
    stream = cartpoles(32, tasks=1)

    def gradients(learner: Any) -> list[torch.Tensor]:
        return [parameter.grad for parameter in learner.modules[learner.host.primary].parameters()]

    learner, resumed = (prepared(kind(**settings), stream) for _ in range(2))
    learn_all(learner, stream)
    resumed.load_state_dict(learner.state_dict())
    assert any(bool(gradient.any()) for gradient in gradients(learner))
    assert all(map(torch.equal, gradients(learner), gradients(resumed)))
