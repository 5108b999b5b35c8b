"""Resets at boundaries, by what has changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from harness import classifier, digit_stream, learn_one, learning, prepared, weights

from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Adam
from rlcl.methods.reset import Reset
from rlcl.networks.mlp import Mlp, fresh_weights
from rlcl.networks.multihead import Multihead
from rlcl.networks.torchvision import ResNet18, TorchvisionNetwork

NAMES = ["1.weight", "1.bias", "2.weight", "2.bias", "4.weight", "4.bias", "5.weight", "5.bias", "7.weight", "7.bias"]
NETWORK = Mlp(hidden=(4, 3), layer_norm=True)


def begun(learner: Any, index: int = 1) -> None:
    """The methods' view of an experience's start, and nothing more."""
    learner._attached.begin(digit_stream(2)[index], None)


@pytest.mark.parametrize(("layers", "first"), [(0, 10), (1, 8), (2, 4), (3, 0), ("all", 0)])
def test_the_last_layers_are_drawn_anew_and_the_others_stay(layers: Any, first: int) -> None:
    stream = digit_stream(2)
    learner = prepared(classifier(Reset(layers=layers), network=NETWORK), stream)
    learn_one(learner, stream)
    before = weights(learner)
    begun(learner)
    now = weights(learner)
    assert NAMES == list(now)
    assert NAMES[first:] == [name for name in NAMES if not torch.equal(before[name], now[name])]


def test_nothing_is_reset_before_the_first_experience() -> None:
    learner = prepared(classifier(Reset(layers="all"), network=NETWORK), digit_stream(2))
    before = weights(learner)
    begun(learner, 0)
    assert all(torch.equal(before[name], value) for name, value in weights(learner).items())


def test_the_optimizer_forgets_what_is_drawn_anew() -> None:
    stream = digit_stream(2)
    used = Reset(layers=1)
    learner = prepared(classifier(used, network=NETWORK, optimizer=Adam(lr=0.01)), stream)
    learn_one(learner, stream)
    assert 10 == len(learner.optimizers["network"].state)
    begun(learner)
    assert 8 == len(learner.optimizers["network"].state)
    next(learning(learner, stream))
    assert 10 == len(learner.optimizers["network"].state)


def test_what_is_drawn_is_what_the_network_would_draw() -> None:
    used = Reset(layers="all")
    learner = prepared(classifier(used, network=NETWORK), digit_stream(2))
    rng = np.random.default_rng()
    rng.bit_generator.state = used.state_dict()["rng"]
    begun(learner)
    for layer in learner.module:
        if isinstance(layer, torch.nn.Linear):
            drawn = fresh_weights(layer, torch.Generator().manual_seed(int(rng.integers(2**62))))
            assert torch.equal(drawn["weight"], layer.weight)
            assert torch.equal(drawn["bias"], layer.bias)


@pytest.mark.parametrize(
    ("network", "layers", "message"),
    [
        (
            Multihead(body=Mlp(hidden=(4,)), features=4),
            1,
            "one head per task and no single last layer; set layers: all",
        ),
        (NETWORK, 4, "it resets 4 layers, and the network has 3; set layers: all"),
        (TorchvisionNetwork(name="vit_b_32", options={"image_size": 32}), "all", "the network has a VisionTransformer"),
    ],
)
def test_what_it_cannot_draw_is_refused_with_what_it_has(network: Any, layers: Any, message: str) -> None:
    module = network.build((3, 32, 32), 2, 2)
    host: Any = type("Host", (), {"primary": "network", "modules": {"network": module}})()
    assert message in (Reset(layers=layers).refuses(host) or "")


def test_the_refusal_reaches_the_user() -> None:
    with pytest.raises(UnsupportedError, match=r"learner.methods\[0\]: reset does not support .*: it resets 9 layers"):
        prepared(classifier(Reset(layers=9)), digit_stream(2))


def test_batch_norms_start_anew_with_the_rest() -> None:
    module = ResNet18().build((3, 32, 32), 2)
    module(torch.rand(4, 3, 32, 32))
    host: Any = type("Host", (), {"primary": "network", "modules": {"network": module}, "optimizers": {}})()
    host.optimizers["network"] = torch.optim.SGD(module.parameters(), lr=0.1)
    used = Reset(layers="all")
    assert used.refuses(host) is None
    used.attach(host, np.random.default_rng(0))
    used.begin(digit_stream(2)[1], None)
    assert not module.get_buffer("bn1.running_mean").any()
