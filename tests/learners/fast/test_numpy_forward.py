"""Forward passes in NumPy equal torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from rlcl.learners.fast.numpy_forward import numpy_forward
from rlcl.networks.cnn import Cnn
from rlcl.networks.mlp import Linear, Mlp
from rlcl.types import Network

NETWORKS: dict[str, tuple[Network, tuple[int, ...]]] = {
    "linear": (Linear(), (3,)),
    "relu": (Mlp(hidden=(8, 8)), (3,)),
    "tanh": (Mlp(hidden=(8,), activation="tanh", initialization="orthogonal"), (3, 2)),
    "gelu": (Mlp(hidden=(8,), activation="gelu"), (3,)),
    "layer norm": (Mlp(hidden=(8, 8), layer_norm=True), (3,)),
    "leaky relu": (Mlp(hidden=(8, 8), activation="leaky_relu", negative_slope=0.2), (3,)),
    "crelu": (Mlp(hidden=(8,), activation="crelu"), (3,)),
    "cnn": (Cnn(channels=(4,), hidden=(8,)), (1, 8, 8)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_computes_what_the_module_does(name: str) -> None:
    network, shape = NETWORKS[name]
    module = network.build(shape, 5, 1)
    x = torch.randn(7, *shape)
    torch.testing.assert_close(module(x).detach(), torch.from_numpy(numpy_forward(module)(x.numpy())))


def test_it_sees_what_an_optimizer_did_to_the_weights() -> None:
    module = Mlp(hidden=(8,)).build((3,), 2, 1)
    forward, x = numpy_forward(module), torch.randn(4, 3)
    before = forward(x.numpy())
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1, fused=True)
    module(x).square().sum().backward()
    optimizer.step()
    torch.testing.assert_close(module(x).detach(), torch.from_numpy(forward(x.numpy())))
    assert not np.allclose(before, forward(x.numpy()))


def test_it_leaves_its_input_as_it_was() -> None:
    first = nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), nn.Sequential(nn.Flatten(), nn.Tanh())
    for module in (*first, Mlp(hidden=(4,)).build((3,), 2)):
        x = np.array([[-1.0, 2.0, -3.0]], np.float32)
        numpy_forward(module)(x)
        assert [[-1.0, 2.0, -3.0]] == x.tolist()


def test_nothing_is_dropped_while_acting() -> None:
    torch.manual_seed(0)
    for network, shape in ((Mlp(hidden=(64,), dropout=0.5), (3,)), (Cnn(channels=(4,), dropout=0.5), (1, 8, 8))):
        module = network.build(shape, 2, 1)
        x = torch.randn(5, *shape)
        found = numpy_forward(module)(x.numpy())
        assert module.training
        torch.testing.assert_close(module.eval()(x).detach(), torch.from_numpy(found))
