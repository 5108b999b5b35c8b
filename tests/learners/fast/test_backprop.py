"""Passes by hand equal torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from rlcl.learners.fast.backprop import AutogradPasses, ChainPasses, passes_of
from rlcl.learners.fast.twin_networks import StackedTwins, make_twins
from rlcl.networks.mlp import Mlp


def mlp(activation: str = "tanh", **settings: object) -> nn.Module:
    torch.manual_seed(0)
    return Mlp(hidden=(7, 5), activation=activation, **settings).build((2, 3), 4)  # type: ignore[arg-type]


def by_torch(module: nn.Module, x: Tensor, gradient: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    x = x.clone().requires_grad_()
    y = module(x)
    *weights, inputs = torch.autograd.grad(y, [*module.parameters(), x], gradient)
    return y.detach(), weights, inputs


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (mlp("tanh"), ChainPasses),
        (mlp("relu"), ChainPasses),
        (mlp("leaky_relu"), ChainPasses),
        (mlp("leaky_relu", negative_slope=0.3), ChainPasses),
        (nn.Sequential(nn.Flatten(), nn.Linear(6, 4)), ChainPasses),
        (mlp("gelu"), AutogradPasses),
        (mlp("relu", layer_norm=True), AutogradPasses),
        (nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(6, 4)), AutogradPasses),
        (nn.Sequential(nn.Flatten(), nn.Linear(6, 4, bias=False)), AutogradPasses),
    ],
)
def test_outputs_and_gradients_are_torchs(module: nn.Module, kind: type) -> None:
    x, gradient = torch.randn(6, 2, 3), torch.randn(6, 4)
    expected, weights, inputs = by_torch(module, x, gradient)
    passes = passes_of(module)
    assert type(passes) is kind
    for _ in range(2):  # the second time into what the first one left
        assert torch.allclose(expected, passes.forward(x), atol=1e-6)
        actual = passes.backward(gradient, inputs=True)
        assert actual is not None
        assert torch.allclose(inputs, actual, atol=1e-6)
        for its, parameter in zip(weights, module.parameters(), strict=True):
            assert parameter.grad is not None
            assert torch.allclose(its, parameter.grad, atol=1e-5)
    before = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    passes.forward(x)
    passes.backward(2 * gradient, weights=False, inputs=True)
    assert all(torch.equal(a, p.grad) for a, p in zip(before, module.parameters(), strict=True))  # type: ignore[arg-type]
    passes.forward(x)
    assert passes.backward(gradient) is None


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "silu", "crelu"])
def test_those_of_twins_are_torchs(activation: str) -> None:
    torch.manual_seed(0)
    module = make_twins([Mlp(hidden=(7, 5), activation=activation).build((4,), 1) for _ in range(2)])  # type: ignore[arg-type]
    x, gradient = torch.randn(6, 4), torch.randn(2, 6)
    expected, weights, inputs = by_torch(module, x, gradient)
    passes = passes_of(module)
    assert isinstance(passes, ChainPasses) is (activation in ("relu", "leaky_relu", "tanh"))
    assert torch.allclose(expected, passes.forward(x), atol=1e-6)
    actual = passes.backward(gradient, inputs=True)
    assert actual is not None
    assert torch.allclose(inputs, actual, atol=1e-6)
    for its, parameter in zip(weights, module.parameters(), strict=True):
        assert parameter.grad is not None
        assert torch.allclose(its, parameter.grad, atol=1e-5)


def test_those_of_the_first_twin_leave_the_weights_alone() -> None:
    torch.manual_seed(0)
    module = make_twins([Mlp(hidden=(7,)).build((4,), 1) for _ in range(2)])
    assert isinstance(module, StackedTwins)
    x = torch.randn(6, 4, requires_grad=True)
    (expected,) = torch.autograd.grad(module(x)[0].sum(), x)
    passes = module.passes_of_first()
    passes.forward(x.detach())
    actual = passes.backward(torch.ones(6), weights=False, inputs=True)
    assert actual is not None
    assert torch.allclose(expected, actual, atol=1e-6)
    assert all(p.grad is None for p in module.parameters())


def test_whoever_listens_hears_the_pass() -> None:
    module, heard = mlp(), []
    list(module)[2].register_forward_hook(lambda *_: heard.append(1))  # type: ignore[call-overload]
    passes_of(module).forward(torch.randn(3, 2, 3))
    assert [1] == heard


def test_weights_are_read_where_they_are() -> None:
    module = mlp()
    passes, x = passes_of(module), torch.randn(3, 2, 3)
    other = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.5)
    assert torch.allclose(module(x), passes.forward(x), atol=1e-6)
    module.load_state_dict(other.state_dict())
    assert torch.allclose(other(x), passes.forward(x), atol=1e-6)
