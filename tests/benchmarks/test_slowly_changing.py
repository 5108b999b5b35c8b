"""The benchmark's batched steps are rlcl's own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from harness import learning, prepared
from torch import nn

from rlcl.learners.optimizers import Sgd
from rlcl.learners.regressor import Regressor
from rlcl.methods.continual_backprop import ContinualBackprop
from rlcl.methods.shrink_and_perturb import ShrinkAndPerturb
from rlcl.networks.mlp import Linear, Mlp
from rlcl.seeding import Seeds
from rlcl.streams.slowly_changing_regression import SlowlyChangingRegression
from rlcl.types import Budget

PATH = Path(__file__).parents[2] / "benchmarks" / "plasticity" / "slowly_changing.py"
UPDATES = 200


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("slowly_changing_benchmark", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # attrs looks annotations up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def learner(stream: Any, *methods: Any, **settings: Any) -> Any:
    settings = {"network": Mlp(hidden=(5,), initialization="kaiming"), "optimizer": Sgd(lr=0.01), **settings}
    return prepared(Regressor(methods=methods, batch_size=1, **settings), stream)


def flat(module: nn.Module) -> np.ndarray[Any, Any]:
    """(1, P) of one run; a copy."""
    return torch.cat([p.detach().flatten() for p in module.parameters()]).numpy()[None].copy()


def compare(stream: Any, ours: Any, batched: Any) -> None:
    """Both make the same updates, on the examples in the order in which the learner draws them."""
    for _, _ in zip(range(UPDATES), learning(ours, stream), strict=False):
        x, y = ours.batch.inputs.numpy(), ours.batch.targets.numpy()[:, 0]
        batched.step(x, y)
    np.testing.assert_allclose(batched.theta, flat(ours.module), rtol=2e-3, atol=2e-4)


@pytest.fixture
def stream() -> Any:
    return SlowlyChangingRegression(examples=UPDATES, period=100).make(Seeds(3), Budget(epochs=1))


def start(used: Any) -> np.random.Generator:
    """A generator where the method's own stands."""
    rng = np.random.default_rng()
    rng.bit_generator.state = used.state_dict()["rng"]
    return rng


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_backprop_with_and_without_l2(benchmark: Any, stream: Any, weight_decay: float) -> None:
    ours = learner(stream, optimizer=Sgd(lr=0.01, weight_decay=weight_decay))
    compare(stream, ours, benchmark.Networks(flat(ours.module), 20, weight_decay=weight_decay))


def test_linear(benchmark: Any, stream: Any) -> None:
    ours = learner(stream, network=Linear())
    compare(stream, ours, benchmark.Linear(flat(ours.module)))


def test_shrink_and_perturb(benchmark: Any, stream: Any) -> None:
    used = ShrinkAndPerturb(decay=1e-2, noise=1e-2)
    ours = learner(stream, used)
    edit = benchmark.Perturbing(start(used), shrink=1e-2, noise=1e-2)
    compare(stream, ours, benchmark.Networks(flat(ours.module), 20, edit=edit))


def test_continual_backprop(benchmark: Any, stream: Any) -> None:
    used = ContinualBackprop(replacement_rate=0.01, maturity=10)
    ours = learner(stream, used)
    rng = start(used)

    def draw() -> Any:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        return nn.init.kaiming_uniform_(torch.empty(5, 20), generator=generator).numpy()

    edit = benchmark.Replacing(draw, (1, 5), rate=0.01, maturity=10)
    compare(stream, ours, benchmark.Networks(flat(ours.module), 20, edit=edit))
    assert 5 < edit.replaced


def test_runs_that_step_together_are_those_that_step_alone(benchmark: Any) -> None:
    streams = [SlowlyChangingRegression(examples=300, period=100).make(Seeds(s), Budget(epochs=1)) for s in (0, 1)]

    def stepped(chosen: list[int]) -> Any:
        theta = benchmark.fresh(np.random.default_rng(0), 2, 20)[chosen]
        edit = benchmark.Replacing(lambda: np.ones((5, 20), np.float32), (len(chosen), 5), rate=0.01, maturity=10)
        networks = benchmark.Networks(theta, 20, edit=edit)
        benchmark.run(networks, [streams[i] for i in chosen])
        return networks.theta

    np.testing.assert_allclose(stepped([0, 1]), np.concatenate((stepped([0]), stepped([1]))), rtol=1e-4, atol=1e-5)
