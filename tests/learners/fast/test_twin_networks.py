"""Two networks as one equal the two."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from rlcl.learners.fast.twin_networks import SeparateTwins, StackedTwins, make_twins
from rlcl.networks.mlp import Mlp


def two(activation: str = "relu", **settings: object) -> list[nn.Module]:
    torch.manual_seed(0)
    network = Mlp(hidden=(7, 5), activation=activation, **settings)  # type: ignore[arg-type]
    return [network.build((4,), 1) for _ in range(2)]


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu", "crelu"])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_outputs_and_gradients_are_those_of_two_networks(activation: str, layer_norm: bool) -> None:
    networks = two(activation, layer_norm=layer_norm)
    module = make_twins(copy.deepcopy(networks))
    assert isinstance(module, SeparateTwins if layer_norm or activation == "crelu" else StackedTwins)
    x = torch.randn(6, 4)
    apart, together = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected = torch.stack([network(apart)[:, 0] for network in networks])
    actual = module(together)
    assert torch.allclose(expected, actual, atol=1e-6)
    assert torch.allclose(expected[0], module.passes_of_first().forward(x), atol=1e-6)
    (expected[0].square().sum() + 3 * expected[1].sum()).backward()
    (actual[0].square().sum() + 3 * actual[1].sum()).backward()
    assert apart.grad is not None
    assert together.grad is not None
    assert torch.allclose(apart.grad, together.grad, atol=1e-5)
    if isinstance(module, StackedTwins):
        for place, layers in enumerate([n for n in network if isinstance(n, nn.Linear)] for network in networks):
            for layer, weight, bias in zip(layers, module.weights, module.biases, strict=True):
                assert layer.weight.grad is not None
                assert torch.allclose(layer.weight.grad.T, weight.grad[place], atol=1e-5)  # type: ignore[index]
                assert torch.allclose(layer.bias.grad, bias.grad[place, 0], atol=1e-5)  # type: ignore[arg-type,index]


def test_a_copy_and_a_loaded_one_have_weights_of_their_own() -> None:
    module = make_twins(two())
    other = copy.deepcopy(module)
    x = torch.randn(3, 4)
    before = module(x)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    assert torch.equal(before, module(x))
    assert not torch.equal(before, other(x))
    other.load_state_dict(module.state_dict())
    assert torch.equal(before, other(x))
