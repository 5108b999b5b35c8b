"""Distillation, by autograd and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from harness import HOSTS, added_gradients, classifier, digit_stream, learn_one, learning, prepared
from torch.distributions import Independent, Normal, kl_divergence

from rlcl.encoders.scale import Scale
from rlcl.methods.distill import Distill, distillation_loss
from rlcl.types import Budget


@pytest.mark.parametrize("kind", ["categorical", "values", "reconstruction"])
def test_the_distance_is_the_mean_squared_one(kind: str) -> None:
    now, stored = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([[0.0, 4.0], [0.0, 2.0]])
    assert float(distillation_loss(now, stored, kind)) == (1 + 4 + 0 + 9) / 4


def test_the_divergence_of_two_gaussians_by_hand() -> None:
    # KL(N(1, 2) || N(0, 1)) = log(1 / 2) + (4 + 1) / 2 - 1 / 2 = 2 - log 2.
    now, stored = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, math.log(2.0)]])
    assert pytest.approx(2 - math.log(2), rel=1e-6) == float(distillation_loss(now, stored, "gaussian"))


def test_the_divergence_is_summed_over_actions_and_averaged_over_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    now, stored = torch.randn(5, 6, generator=generator), torch.randn(5, 6, generator=generator)

    def policy(outputs: torch.Tensor) -> Independent:
        mean, log_std = outputs.chunk(2, 1)
        return Independent(Normal(mean, log_std.exp()), 1)

    expected = kl_divergence(policy(stored), policy(now)).mean()
    torch.testing.assert_close(distillation_loss(now, stored, "gaussian"), expected)


@pytest.mark.parametrize("task_ids", [False, True])
def test_its_gradient_is_that_of_strength_times_the_distance_to_the_stored_outputs(task_ids: bool) -> None:
    # As many as there are are drawn, so that the draw's order is all that chance decides.
    method = Distill(strength=3.0, capacity=1000, samples=1000, batch_size=1000)
    stream = digit_stream(2, task_ids=task_ids, budget=Budget(updates=8))
    learner = prepared(classifier(method), stream, encoder=Scale(maximum=16.0))
    learn_one(learner, stream)
    x, _ = stream[0].train.read()
    ids = torch.zeros(len(x), dtype=torch.int64) if task_ids else None
    with torch.no_grad():
        stored = learner.outputs(x / 16, ids)
    for _ in zip(range(4), learning(learner, stream), strict=False):
        pass
    loss = 3.0 * (learner.outputs(x / 16, ids) - stored).square().mean()
    parameters = dict(learner.module.named_parameters())
    expected = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    actual = added_gradients(learner)
    for name, value in expected.items():
        assert float(value.abs().max()) > 0
        torch.testing.assert_close(actual[name], value, rtol=1e-4, atol=1e-6)


def test_each_experience_offers_no_more_than_its_samples() -> None:
    method = Distill(capacity=100, samples=7)
    stream = digit_stream(3)
    learner = prepared(classifier(method), stream)
    seen = []
    for _ in stream:
        learn_one(learner, stream)
        seen.append(method.memory.seen)
    assert seen == [7, 14, 21]


def test_it_stores_the_outputs_of_the_network_without_dropout() -> None:
    from rlcl.networks.mlp import Mlp

    method = Distill(capacity=100, samples=100)
    stream = digit_stream(2)
    learner = prepared(classifier(method, network=Mlp(hidden=(16,), dropout=0.5)), stream)
    learn_one(learner, stream)
    stored = method.memory.sample(100)
    with learner.predicting(None):
        torch.testing.assert_close(learner.outputs(stored["inputs"]), stored["outputs"])
    assert learner.module.training


@pytest.mark.parametrize(
    ("host", "observations"), [("sb3_dqn", 60), ("sb3_ppo", 32), ("sb3_sac", 40), ("ppo", 24), ("ppo_continuous", 24)]
)
def test_a_policy_offers_what_it_observed_in_the_experience_just_learned_alone(host: str, observations: int) -> None:
    # PPO keeps its last rollout; a replay buffer holds the experiences before as well, which are not offered again.
    method = Distill(capacity=1000, samples=1000)
    case = HOSTS[host]
    learner = case.prepared(method)
    seen = []
    for _ in case.stream():
        learn_one(learner, case.stream())
        seen.append(method.memory.seen)
    assert [observations, 2 * observations] == seen
