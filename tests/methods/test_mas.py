"""Memory aware synapses, by hand and example by example."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import added_gradients, classifier, digit_stream, learn_one, learning, prepared, weights
from torch import Tensor, nn

from rlcl.encoders.scale import Scale
from rlcl.learners.optimizers import Sgd
from rlcl.methods.mas import Mas
from rlcl.methods.parts.per_example_gradients import mean_magnitudes
from rlcl.types import Budget


def importance(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """By the definition, one backward pass an example."""
    total = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    for row in x:
        gradients = torch.autograd.grad(module(row[None]).square().sum(), list(module.parameters()))
        for name, gradient in zip(total, gradients, strict=True):
            total[name] += gradient.abs() / len(x)
    return total


def test_a_linear_model_by_hand() -> None:
    # Outputs 2 and -1, whose squares have the gradients 4 x and -2 x; x is (1, -2), then (3, 0).
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.zero_()
        module.bias.copy_(torch.tensor([2.0, -1.0]))
    x = torch.tensor([[1.0, -2.0], [3.0, 0.0]])
    actual = mean_magnitudes(
        lambda i, _: module(i),
        dict(module.named_parameters()),
        module,
        x,
        None,
        lambda y, _: [y.square().sum(1)],
        torch.abs,
    )
    assert actual["weight"].tolist() == [[4 * (1 + 3) / 2, 4 * 2 / 2], [2 * (1 + 3) / 2, 2 * 2 / 2]]
    assert actual["bias"].tolist() == [4, 2]


@pytest.mark.parametrize("layer", [nn.Linear(12, 4), nn.Sequential(nn.Unflatten(1, (1, 3, 4)), nn.Conv2d(1, 2, 2))])
def test_closed_forms_equal_the_definition(layer: nn.Module) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.LazyLinear(3)).double()
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    module(x)
    parameters = dict(module.named_parameters())
    actual = mean_magnitudes(
        lambda i, _: module(i), parameters, module, x, None, lambda y, _: [y.square().sum(1)], torch.abs
    )
    for name, value in importance(module, x).items():
        assert float(value.max()) > 0
        torch.testing.assert_close(actual[name], value, rtol=1e-9, atol=1e-12)


def test_it_pulls_to_the_latest_weights_by_the_sum_of_importances() -> None:
    stream = digit_stream(3, budget=Budget(updates=6))
    learner: Any = prepared(
        classifier(Mas(strength=0.3, samples=None), optimizer=Sgd(lr=0.05)), stream, encoder=Scale(maximum=16.0)
    )
    parts = []
    for index in range(2):
        learn_one(learner, stream)
        parts.append(importance(learner.module, stream[index].train.read()[0] / 16))
    latest = weights(learner)
    next(learning(learner, stream))
    now, actual = weights(learner), added_gradients(learner)
    for name, value in now.items():
        expected = 2 * 0.3 * (parts[0][name] + parts[1][name]) * (value - latest[name])
        assert float(expected.abs().max()) > 0
        torch.testing.assert_close(actual[name], expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
