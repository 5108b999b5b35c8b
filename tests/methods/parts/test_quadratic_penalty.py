"""The gradients of EWC's, L2's and L2-init's penalties, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import (
    added_gradients,
    autoencoder,
    cartpoles,
    classifier,
    digit_stream,
    learn_one,
    learning,
    pendulums,
    prepared,
    sb3,
    weights,
)
from torch import Tensor

from rlcl.encoders.scale import Scale
from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Sgd
from rlcl.methods.ewc import Ewc
from rlcl.methods.l2 import L2
from rlcl.methods.l2_init import L2Init
from rlcl.methods.parts.fisher import diagonal_fisher
from rlcl.methods.parts.quadratic_penalty import Anchor
from rlcl.networks.mlp import Mlp
from rlcl.networks.multihead import Multihead
from rlcl.types import Budget

STRENGTH = 30.0


def after_experiences(method: Ewc, count: int) -> tuple[Any, list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """The learner at one update into the last, with the exact Fishers and weights of those before."""
    stream = digit_stream(3, budget=Budget(updates=6))
    learner = prepared(classifier(method, optimizer=Sgd(lr=0.05)), stream, encoder=Scale(maximum=16.0))
    fishers, anchors = [], []
    for index in range(count):
        learn_one(learner, stream)
        x, _ = stream[index].train.read()
        named = dict(learner.module.named_parameters())
        generator = torch.Generator()
        fishers.append(
            diagonal_fisher(learner.outputs, named, learner.module, x / 16, None, "categorical", "exact", generator)
        )
        anchors.append(weights(learner))
    next(learning(learner, stream))
    return learner, fishers, anchors


def assert_close(expected: dict[str, Tensor], actual: dict[str, Tensor | None]) -> None:
    for name, value in expected.items():
        assert float(value.abs().max()) > 0, name
        torch.testing.assert_close(actual[name], value, rtol=1e-4, atol=1e-6 * float(value.abs().max()))


def test_ewc_after_one_experience_pulls_by_strength_times_fisher() -> None:
    learner, (fisher,), (anchor,) = after_experiences(Ewc(strength=STRENGTH, samples=None), 1)
    now = weights(learner)
    assert_close({n: STRENGTH * fisher[n] * (now[n] - anchor[n]) for n in now}, added_gradients(learner))


def test_ewc_after_two_experiences_is_the_sum_of_two_penalties() -> None:
    learner, fishers, anchors = after_experiences(Ewc(strength=STRENGTH, samples=None), 2)
    now = weights(learner)
    pairs = list(zip(fishers, anchors, strict=True))
    expected = {n: STRENGTH * sum(f[n] * (now[n] - a[n]) for f, a in pairs) for n in now}
    assert_close(expected, added_gradients(learner))


def test_the_value_of_the_penalty_by_hand() -> None:
    theta = torch.nn.Parameter(torch.tensor([[1.0, 2.0]]))
    anchor = Anchor({"w": torch.tensor([[4.0, 0.5]])}, {"w": torch.tensor([[0.0, -1.0]])})
    assert anchor.penalty() == 0.0  # not bound yet
    anchor.bind({"w": theta})
    assert anchor.penalty() == (4.0 * 1.0 + 0.5 * 9.0) / 2


def test_ewc_logs_strength_over_2_times_fisher_times_squared_distance() -> None:
    method = Ewc(strength=STRENGTH, samples=None)
    learner, (fisher,), (anchor,) = after_experiences(method, 1)
    now = weights(learner)
    expected = STRENGTH / 2 * sum(float((fisher[n] * (now[n] - anchor[n]).square()).sum()) for n in now)
    assert expected > 0
    assert method.quantities() == {"penalty": pytest.approx(expected, rel=1e-4)}


def test_online_ewc_pulls_to_the_latest_weights_by_the_decayed_sum_of_fishers() -> None:
    method = Ewc(strength=STRENGTH, samples=None, online=True, decay=0.25)
    learner, (f0, f1), (_, latest) = after_experiences(method, 2)
    now = weights(learner)
    expected = {n: STRENGTH * (0.25 * f0[n] + f1[n]) * (now[n] - latest[n]) for n in now}
    assert_close(expected, added_gradients(learner))


def test_ewc_adds_nothing_in_the_first_experience() -> None:
    learner, _, _ = after_experiences(Ewc(strength=STRENGTH), 0)
    assert all(g is None for g in added_gradients(learner).values())


def test_ewc_adds_nothing_at_its_own_anchor() -> None:
    stream = digit_stream(2)
    learner = prepared(classifier(Ewc(strength=STRENGTH)), stream)
    learn_one(learner, stream)
    assert all(float(g.abs().max()) == 0 for g in added_gradients(learner).values() if g is not None)


def test_ewc_over_a_thousand_samples_estimates_in_chunks_what_one_pass_would(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _, _ = after_experiences(Ewc(strength=STRENGTH, samples=None), 1)
    monkeypatch.setattr("rlcl.methods.parts.per_example_gradients.MAX_ROWS", 5)  # of 13 samples: chunks of 5, 5 and 3
    chunked, _, _ = after_experiences(Ewc(strength=STRENGTH, samples=None), 1)
    assert_close({n: g for n, g in added_gradients(whole).items() if g is not None}, added_gradients(chunked))


def test_ewc_leaves_the_heads_of_other_tasks_alone() -> None:
    stream = digit_stream(2, task_ids=True)
    network = Multihead(body=Mlp(hidden=(16,)), features=16)
    learner = prepared(classifier(Ewc(strength=STRENGTH), network=network), stream)
    learn_one(learner, stream)
    next(learning(learner, stream))
    added = added_gradients(learner)
    assert float(torch.as_tensor(added["heads.1.weight"]).abs().max()) == 0.0
    # The present task moves the body and its own head; the first task's head has not moved from its anchor.
    assert float(torch.as_tensor(added["body.0.1.weight"]).abs().max()) > 0


@pytest.mark.parametrize(("algorithm", "untouched"), [("PPO", "value"), ("SAC", "critic")])
def test_ewc_on_a_policy_protects_what_its_outputs_depend_on(algorithm: str, untouched: str) -> None:
    stream = cartpoles(64) if algorithm == "PPO" else pendulums(40)
    learner = prepared(sb3(algorithm, Ewc(strength=STRENGTH)), stream)
    learn_one(learner, stream)
    before = weights(learner)
    with torch.no_grad():
        for p in learner.model.policy.parameters():
            p.add_(0.1)
    added = added_gradients(learner)
    reached = {name for name, g in added.items() if g is not None and float(g.abs().max()) > 0}
    assert reached
    assert not any(untouched in name for name in reached)
    assert before


@pytest.mark.parametrize("how", ["empirical", "weighted"])
def test_ewc_estimates_on_the_true_labels_in_chunks_what_one_pass_would(
    how: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlcl.methods.parts.per_example_gradients.MAX_ROWS", 5)
    stream = digit_stream(2, budget=Budget(updates=6))
    learner = prepared(classifier(Ewc(strength=STRENGTH, fisher=how, samples=None)), stream, encoder=Scale(maximum=16))
    learn_one(learner, stream)
    x, y = stream[0].train.read()
    named, anchor = dict(learner.module.named_parameters()), weights(learner)
    fisher = diagonal_fisher(
        learner.outputs, named, learner.module, x / 16, None, "categorical", how, torch.Generator(), y
    )
    next(learning(learner, stream))
    now = weights(learner)
    assert_close({n: STRENGTH * fisher[n] * (now[n] - anchor[n]) for n in now}, added_gradients(learner))


@pytest.mark.parametrize("how", ["empirical", "weighted", "batch"])
def test_ewc_on_true_labels_is_refused_where_there_are_none(how: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"ewc does not support learner sb3 \(PPO\): it needs targets"):
        prepared(sb3("PPO", Ewc(fisher=how)), cartpoles(32))
    with pytest.raises(UnsupportedError, match=r"outputs that are categorical, and these are reconstruction"):
        prepared(autoencoder(Ewc(fisher=how)), digit_stream(2))


class TestL2Init:
    def test_its_gradient_is_twice_the_strength_times_the_distance(self) -> None:
        stream = digit_stream(2)
        learner = prepared(classifier(L2Init(strength=0.25)), stream)
        start = weights(learner)
        learn_one(learner, stream)
        now = weights(learner)
        assert_close({n: 2 * 0.25 * (now[n] - start[n]) for n in now}, added_gradients(learner))

    def test_it_reaches_parameters_whose_gradient_is_none(self) -> None:
        stream = digit_stream(2, task_ids=True, budget=Budget(updates=2))
        network = Multihead(body=Mlp(hidden=(16,)), features=16)
        learner = prepared(classifier(L2Init(strength=0.5), network=network, optimizer=Sgd(lr=0.1)), stream)
        with torch.no_grad():
            learner.module.heads[1].bias.add_(1.0)
        start = learner.module.heads[1].bias.detach().clone()
        learn_one(learner, stream)
        # The second head is not used by the first task: one update takes lr * 2 * strength of the distance of 1.
        torch.testing.assert_close(learner.module.heads[1].bias.detach(), start - 1 + 0.9**2)

    def test_it_holds_every_optimizer_of_its_host(self) -> None:
        stream = pendulums(40)
        learner = prepared(sb3("SAC", L2Init(strength=0.5)), stream)
        with torch.no_grad():
            for p in learner.model.policy.parameters():
                p.add_(0.2)
        for key in ("actor", "critic"):
            gradients = [g for g in added_gradients(learner, key).values() if g is not None]
            assert gradients
            for gradient in gradients:
                torch.testing.assert_close(gradient, torch.full_like(gradient, 0.2), rtol=1e-5, atol=1e-6)


class TestL2:
    def test_its_gradient_is_twice_the_strength_times_the_distance_to_the_last_boundary(self) -> None:
        stream = digit_stream(3, budget=Budget(updates=6))
        learner = prepared(classifier(L2(strength=0.25)), stream)
        for _ in range(2):
            learn_one(learner, stream)
        latest = weights(learner)
        next(learning(learner, stream))
        now = weights(learner)
        assert_close({n: 2 * 0.25 * (now[n] - latest[n]) for n in now}, added_gradients(learner))

    def test_it_adds_nothing_before_the_first_boundary(self) -> None:
        stream = digit_stream(2)
        learner = prepared(classifier(L2(strength=0.25)), stream)
        next(learning(learner, stream))
        assert all(g is None for g in added_gradients(learner).values())


class TestAnchor:
    def test_it_adds_to_what_is_there(self) -> None:
        parameter = torch.nn.Parameter(torch.tensor([3.0, 1.0]))
        parameter.grad = torch.tensor([10.0, 20.0])
        anchor = Anchor({"p": torch.tensor([2.0, 4.0])}, {"p": torch.tensor([1.0, 1.5])})
        anchor.bind({"p": parameter})
        anchor(torch.optim.SGD([parameter], lr=1.0), (), {})
        assert parameter.grad.tolist() == [10 + 2 * 2.0, 20 + 4 * -0.5]

    def test_a_parameter_that_has_grown_is_left_alone(self) -> None:
        grown = torch.nn.Parameter(torch.zeros(3))
        anchor = Anchor({"p": torch.ones(2)}, {"p": torch.ones(2)})
        anchor.bind({"p": grown})
        anchor(torch.optim.SGD([grown], lr=1.0), (), {})
        assert grown.grad is None
