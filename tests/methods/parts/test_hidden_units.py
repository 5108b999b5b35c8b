"""Hidden units: found, listened to and replaced, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import classifier, digit_stream, learn_all, prepared
from torch import nn

from rlcl.errors import UnsupportedError
from rlcl.methods.continual_backprop import ContinualBackprop
from rlcl.methods.parts.hidden_units import hidden_layers, record_layer_inputs
from rlcl.methods.redo import Redo
from rlcl.networks.cnn import Cnn
from rlcl.networks.mlp import Linear, Mlp
from rlcl.networks.multihead import Multihead
from rlcl.networks.torchvision import ResNet18

METHODS = pytest.mark.parametrize("method", [ContinualBackprop, Redo])


def test_the_hidden_layers_of_an_mlp() -> None:
    network = Mlp(hidden=(7, 5), layer_norm=True, dropout=0.1, activation="crelu")
    layers = hidden_layers(network.build((2, 3), 4))
    assert [("1", 7, 2), ("5", 5, 2)] == [(layer.name, layer.units, layer.copies) for layer in layers]
    assert [(5, 2, 7, 1), (4, 2, 5, 1)] == [tuple(layer.weights.shape) for layer in layers]
    assert [7, 5] == [len(layer.norm.weight) for layer in layers if layer.norm is not None]


def test_the_hidden_layers_of_a_cnn_are_its_channels_and_units() -> None:
    layers = hidden_layers(Cnn(channels=(2, 3), hidden=(5,)).build((1, 8, 8), 4))
    # Two poolings leave 2 x 2 places of each of the 3 channels; a 3 x 3 kernel has 9.
    assert [(3, 1, 2, 9), (5, 1, 3, 4), (4, 1, 5, 1)] == [tuple(layer.weights.shape) for layer in layers]


@pytest.mark.parametrize("activation", ["relu", "crelu"])
def test_zeroing_a_units_outgoing_weights_makes_the_outputs_blind_to_it(activation: Any) -> None:
    network = Cnn(channels=(2, 3), hidden=(5,), activation=activation).build((1, 8, 8), 4)
    x = torch.rand(6, 1, 8, 8)
    for layer in hidden_layers(network):
        layer.weights[:, :, 1] = 0
        before = network(x)
        with torch.no_grad():
            layer.incoming.weight[1] += 10
        torch.testing.assert_close(before, network(x))
        with torch.no_grad():
            layer.incoming.weight[0] += 10
        assert not torch.allclose(before, network(x))


@pytest.mark.parametrize("activation", ["relu", "crelu"])
def test_activations_are_those_of_the_units(activation: Any) -> None:
    network: Any = Cnn(channels=(2, 3), hidden=(5,), activation=activation).build((1, 8, 8), 4)
    layers = hidden_layers(network)
    heard = record_layer_inputs(layers, lambda: True)
    network(torch.rand(6, 1, 8, 8)).sum().backward()
    for layer in layers:
        h = layer.activations(heard[layer.name][0])
        total = (h.sum((0, 1, 3)), heard[layer.name][0].reshape(6, layer.copies, layer.units, -1).sum((0, 1, 3)))
        torch.testing.assert_close(*total)
        if isinstance(layer.outgoing, nn.Linear):  # what is read, put together again
            y = torch.einsum("ncuk,ocuk->no", h, layer.weights) + layer.outgoing.bias
            torch.testing.assert_close(layer.outgoing(heard[layer.name][0]), y)


def test_only_training_passes_whose_gradients_are_computed_are_heard() -> None:
    network = Mlp(hidden=(3,)).build((2,), 1)
    heard = record_layer_inputs(hidden_layers(network), lambda: True)
    with torch.no_grad():
        network(torch.rand(4, 2))
    network.eval()(torch.rand(4, 2)).sum().backward()
    network.train()(torch.rand(4, 2))  # as a minibatch that PPO's target_kl leaves out
    assert {} == heard
    x = torch.rand(4, 2)
    y = network(x)
    y.sum().backward()
    assert ["1"] == list(heard)
    (inputs,) = heard["1"]
    torch.testing.assert_close(network[-1](inputs), y)


@pytest.mark.parametrize(
    "optimizer", [lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), lambda p: torch.optim.Adam(p, lr=0.1, fused=True)]
)
def test_a_replaced_unit_is_as_at_first_and_its_moments_are_forgotten(optimizer: Any) -> None:
    torch.manual_seed(0)
    network: Any = Mlp(hidden=(3,), activation="tanh", initialization="kaiming", layer_norm=True).build((2,), 2)
    (layer,) = hidden_layers(network)
    steps = optimizer(network.parameters())
    network(torch.rand(4, 2)).square().sum().backward()
    steps.step()
    kept = {name: p.detach().clone() for name, p in network.named_parameters()}
    layer.replace(torch.tensor([1]), steps, torch.Generator().manual_seed(5))
    drawn = nn.init.kaiming_uniform_(torch.empty(3, 2), generator=torch.Generator().manual_seed(5))
    others = torch.tensor([0, 2])
    now = {name: p.detach() for name, p in network.named_parameters()}
    assert torch.equal(drawn[1], now["1.weight"][1])
    assert (0.0, 1.0, 0.0) == tuple(float(now[name][1]) for name in ("1.bias", "2.weight", "2.bias"))
    assert [0.0, 0.0] == now["4.weight"][:, 1].tolist()
    assert torch.equal(kept["4.bias"], now["4.bias"])
    for name in ("1.weight", "1.bias", "2.weight", "2.bias"):
        assert torch.equal(kept[name][others], now[name][others])
    for name, parameter in network.named_parameters():
        for value in steps.state[parameter].values():
            if value.shape == parameter.shape and name != "4.bias":
                units = value.T if name == "4.weight" else value
                assert not units[1].any()
                assert units[others].any()


@METHODS
@pytest.mark.parametrize("network", [ResNet18(), Multihead(body=Mlp(hidden=(4,)), features=4)])
def test_another_architecture_is_refused_with_what_to_use(method: Any, network: Any) -> None:
    stream = digit_stream(2, task_ids=True)
    with pytest.raises(UnsupportedError, match=r"learner.methods\[0\]: .* it replaces units .* use network mlp or cnn"):
        prepared(classifier(method(), network=network), stream)


@METHODS
def test_a_network_without_hidden_units_is_refused(method: Any) -> None:
    with pytest.raises(UnsupportedError, match="it replaces hidden units, and the network has none"):
        prepared(classifier(method(), network=Linear()), digit_stream(2))


@pytest.mark.filterwarnings("ignore:`torch.jit")  # torch's own, of its compiler
@METHODS
def test_compiled_layers_are_refused(method: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"set learner.compile: false"):
        prepared(classifier(method(), compile=True), digit_stream(2))


@METHODS
@pytest.mark.parametrize("options", [{"ema": 0.9}, {"accumulate": 2}, {"precision": "bfloat16"}])
def test_it_goes_with_the_options_of_training(method: Any, options: Any) -> None:
    settings = {"replacement_rate": 0.1, "maturity": 1} if method is ContinualBackprop else {"threshold": 0.9}
    learner = prepared(classifier(method(**settings), **options), digit_stream(2))
    learn_all(learner, digit_stream(2))
    assert all(bool(p.isfinite().all()) for p in learner.module.parameters())
