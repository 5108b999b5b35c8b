"""Continual backpropagation, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import classifier, digit_stream, learning, prepared, weights
from torch import Tensor

from rlcl.learners.optimizers import Sgd
from rlcl.methods.continual_backprop import ContinualBackprop, UnitUtility
from rlcl.methods.parts.hidden_units import hidden_layers
from rlcl.networks.mlp import Mlp


def utility(units: int) -> UnitUtility:
    return UnitUtility(torch.zeros(units), torch.zeros(1, units, 1), torch.zeros(units))


def activations(*rows: list[float]) -> Tensor:
    return torch.tensor(rows)[:, None, :, None]


def test_two_updates_of_the_utility() -> None:
    u = utility(2)
    outgoing = torch.tensor([[1.0, -2.0], [3.0, 4.0]])[:, None, :, None]  # mean magnitudes 2 and 3
    incoming = torch.tensor([[1.0, -3.0], [0.5, 0.5]])  # mean magnitudes 2 and 1/2
    u.observe(activations([4.0, 1.0]), outgoing, incoming, 0.5)
    # A first activation is its own mean, so that nothing deviates from it.
    assert [0.0, 0.0] == u.value.tolist()
    u.observe(activations([1.0, 7.0]), outgoing, incoming, 0.5)
    # means (.25 * 4 + .5 * 1) / .75 = 2 and (.25 * 1 + .5 * 7) / .75 = 5; deviations 1 and 2;
    # utilities 1 * 2 / 2 = 1 and 2 * 3 / .5 = 12, of which the running mean takes a half.
    torch.testing.assert_close(torch.tensor([0.5, 6.0]), u.value)
    torch.testing.assert_close(torch.tensor([1.5, 3.75]), u.mean.flatten())
    torch.testing.assert_close(torch.tensor([0.75, 0.75]), u.correction(0.5))


def test_a_minibatch_counts_by_its_mean() -> None:
    u = utility(1)
    u.observe(activations([1.0], [3.0]), torch.ones(1, 1, 1, 1), torch.ones(1, 1), 0.5)
    torch.testing.assert_close(torch.tensor([0.5]), u.value)  # mean 2, deviations 1 and 1, half of 1


def test_what_is_due_adds_up_and_takes_the_least_useful_that_are_mature() -> None:
    u = UnitUtility(torch.tensor([9.0, 9.0, 9.0, 2.0]), torch.zeros(1, 4, 1), torch.tensor([3.0, 1.0, 2.0, 0.0]))
    found = [u.due(0.25, 2, 0.5) for _ in range(4)]  # three mature units: .75, 1.5, 2.25 - 1, 2 - 1
    assert [None, [1], [1], [1]] == [f if f is None else f.tolist() for f in found]
    assert 0.0 == u.owed
    u.owed = 1.9
    both = u.due(0.05, 2, 0.5)  # 2.05
    assert both is not None
    assert [1, 2] == sorted(both.tolist())


def test_nothing_is_due_before_maturity() -> None:
    u = UnitUtility(torch.tensor([2.0, 2.0]), torch.zeros(1, 2, 1), torch.zeros(2))
    assert (None, 0.0) == (u.due(1.0, 2, 0.5), u.owed)


def one_replaced(**settings: Any) -> tuple[Any, dict[str, Tensor], ContinualBackprop]:
    """A learner after two updates, of which the second replaced one of three units, and one without the method."""
    stream = digit_stream(1)
    used = ContinualBackprop(replacement_rate=1 / 3, maturity=1, **settings)
    both = [
        prepared(classifier(*m, network=Mlp(hidden=(3,), activation="tanh"), optimizer=Sgd(lr=0.1)), stream)
        for m in ((used,), ())
    ]
    for learner in both:
        steps = learning(learner, stream)
        next(steps), next(steps)
    return both[0], weights(both[1]), used


def test_a_replaced_units_mean_contribution_goes_into_the_bias() -> None:
    learner, plain, used = one_replaced()
    now, kept = weights(learner), used.state_dict()["utilities"]["1"]
    (unit,) = (kept["age"] == 0).nonzero().flatten().tolist()
    others = [i for i in range(3) if i != unit]
    assert torch.equal(plain["1.weight"][others], now["1.weight"][others])
    assert not torch.equal(plain["1.weight"][unit], now["1.weight"][unit])
    assert not now["3.weight"][:, unit].any()
    assert torch.equal(plain["3.weight"][:, others], now["3.weight"][:, others])
    moved = now["3.bias"] - plain["3.bias"]
    ratio = moved / plain["3.weight"][:, unit]  # the corrected mean activation, the same for every output
    torch.testing.assert_close(ratio[0].expand(len(ratio)), ratio, rtol=1e-3, atol=1e-5)
    assert 0 < float(ratio.abs().max()) <= 1


def test_the_mean_activation_is_that_of_the_passes_before_the_steps() -> None:
    stream = digit_stream(1)
    used = ContinualBackprop(replacement_rate=1e-9, maturity=0, decay=0.5)
    learner = prepared(classifier(used, network=Mlp(hidden=(3,)), optimizer=Sgd(lr=0.1)), stream)
    (layer,) = hidden_layers(learner.module)
    passes: list[Tensor] = []
    layer.outgoing.register_forward_pre_hook(lambda _, args: passes.append(args[0].detach().mean(0)))
    steps = learning(learner, stream)
    next(steps), next(steps)
    mean = used.state_dict()["utilities"]["1"]["mean"].flatten()
    assert 2 == len(passes)
    torch.testing.assert_close(0.25 * passes[0] + 0.5 * passes[1], mean)


@pytest.mark.parametrize("rate", [0.01, 0.125])
def test_the_rate_is_that_of_replacements(rate: float) -> None:
    u, replaced = utility(16), 0
    for _ in range(400):
        u.observe(torch.rand(1, 1, 16, 1), torch.ones(1, 1, 16, 1), torch.ones(16, 1), 0.99)
        units = u.due(rate, 0, 0.99)
        if units is not None:
            u.reset(units)
            replaced += len(units)
    assert int(400 * 16 * rate) == pytest.approx(replaced, abs=2)
