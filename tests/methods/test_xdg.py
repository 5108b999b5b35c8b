"""Context-dependent gating: which units are closed, by hand, and what it adds to a penalty."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import FewDigits, classifier, digit_stream, learn_all, learn_one, prepared
from torch import Tensor

from rlcl.data.readers.scikit import Digits
from rlcl.encoders.scale import Scale
from rlcl.encoders.standardize import Standardize
from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Sgd
from rlcl.learners.supervised.icarl import ICarl
from rlcl.methods.ewc import Ewc
from rlcl.methods.rehearsal import Rehearsal
from rlcl.methods.xdg import Gates, Xdg
from rlcl.networks.cnn import Cnn
from rlcl.networks.mlp import Linear, Mlp
from rlcl.networks.multihead import Multihead
from rlcl.networks.progressive import Progressive
from rlcl.networks.torchvision import ResNet18
from rlcl.seeding import Seeds
from rlcl.streams.permuted import Permuted
from rlcl.types import Budget, Visibility


def gated(*methods: Any, experiences: int = 2, **settings: Any) -> Any:
    stream = digit_stream(experiences, data=FewDigits(classes=2 * experiences), task_ids=True)
    settings = {"network": Mlp(hidden=(10,)), **settings}
    return prepared(classifier(*methods, **settings), stream, encoder=Scale())


def open_units(method: Any, place: int, units: int, task: int) -> list[int]:
    found: list[int] = method._gates.of(place, units, torch.tensor([task]))[0].nonzero().flatten().tolist()
    return found


def heard(layer: Any) -> list[Tensor]:
    """What a layer reads, as it runs."""
    found: list[Tensor] = []
    layer.register_forward_pre_hook(lambda _, args: found.append(args[0].detach()))
    return found


class TestGates:
    def test_the_share_is_closed_in_each_task_and_layer(self) -> None:
        gates = Gates(0.8, 1).of(0, 10, torch.tensor([0, 1, 2]))
        assert [2.0, 2.0, 2.0] == gates.sum(1).tolist()
        assert {0.0, 1.0} == set(gates.flatten().tolist())

    def test_one_unit_at_least_stays_open(self) -> None:
        assert [[1.0]] == Gates(0.99, 1).of(0, 1, torch.tensor([0])).tolist()

    def test_they_follow_from_seed_layer_and_task_in_whatever_order(self) -> None:
        forward, backward = Gates(0.5, 1), Gates(0.5, 1)
        expected = [forward.of(place, 40, torch.tensor([task])).tolist() for place, task in ((0, 0), (0, 3), (1, 0))]
        actual = [backward.of(place, 40, torch.tensor([task])).tolist() for place, task in ((1, 0), (0, 3), (0, 0))]
        assert expected == actual[::-1]
        assert 3 == len({str(gate) for gate in expected})
        assert expected[0] != Gates(0.5, 2).of(0, 40, torch.tensor([0])).tolist()


@pytest.mark.parametrize("task", [0, 1])
def test_closed_units_are_0_and_get_no_gradient(task: int) -> None:
    method = Xdg(share=0.7)
    learner = gated(method, network=Mlp(hidden=(10,), activation="tanh"))
    hidden = heard(learner.module[3])
    learner.outputs(torch.rand(6, 1, 8, 8), torch.full((6,), task)).square().sum().backward()
    open_ones = open_units(method, 0, 10, task)
    assert 3 == len(open_ones)
    expected = [unit in open_ones for unit in range(10)]
    assert expected == hidden[0].any(0).tolist()
    assert expected == learner.module[1].weight.grad.any(1).tolist()
    assert expected == learner.module[1].bias.grad.bool().tolist()
    assert expected == learner.module[3].weight.grad.any(0).tolist()


def test_a_task_leaves_the_weights_of_units_that_are_closed_to_it() -> None:
    method = Xdg(share=0.8)
    learner = gated(method, optimizer=Sgd(lr=0.1, momentum=0.9))
    learn_one(learner, digit_stream(2, task_ids=True))
    before = learner.module[1].weight.detach().clone()
    learner._optimizer.state.clear()  # else the first task's momentum goes on
    learn_one(learner, digit_stream(2, task_ids=True))
    moved = (before != learner.module[1].weight).any(1).nonzero().flatten().tolist()
    assert moved
    assert set(moved) <= set(open_units(method, 0, 10, 1))


@pytest.mark.parametrize(
    "network",
    [Mlp(hidden=(10, 7)), Mlp(hidden=(10,), activation="crelu"), Cnn(channels=(6,)), Multihead(features=9), ResNet18()],
)
def test_each_row_has_the_gates_of_its_own_task(network: Any) -> None:
    learner = gated(Xdg(share=0.5), network=network, experiences=3)
    x, ids = torch.rand(6, 1, 8, 8), torch.tensor([2, 0, 1, 1, 0, 2])
    with learner.predicting(None):
        mixed = learner.outputs(x, ids)
        for task in range(3):
            rows = ids == task
            torch.testing.assert_close(learner.outputs(x[rows], ids[rows]), mixed[rows])
        assert not torch.equal(learner.module(x, ids), learner.module(x, ids.flip(0)[[2, 3, 4, 5, 0, 1]]))


def test_both_outputs_of_a_crelus_unit_are_closed() -> None:
    method = Xdg(share=0.5)
    learner = gated(method, network=Mlp(hidden=(4,), activation="crelu"))
    hidden = heard(learner.module[3])
    learner.outputs(torch.randn(50, 1, 8, 8), torch.zeros(50, dtype=torch.int64))
    units = open_units(method, 0, 4, 0)
    assert [unit in units for unit in range(4)] * 2 == hidden[0].any(0).tolist()


def test_a_convolutions_channels_are_closed() -> None:
    method = Xdg(share=0.5)
    learner = gated(method, network=Cnn(channels=(6,), hidden=()))
    hidden = heard(learner.module[2])
    learner.outputs(torch.randn(9, 1, 8, 8), torch.ones(9, dtype=torch.int64))
    assert open_units(method, 0, 6, 1) == hidden[0].any(3).any(2).any(0).nonzero().flatten().tolist()


def test_rehearsed_rows_have_the_gates_of_their_task() -> None:
    method = Xdg(share=0.8)
    learner = gated(method, Rehearsal(capacity=20, batch_size=8), network=Mlp(hidden=(10,), activation="tanh"))
    stream = digit_stream(2, task_ids=True)
    learn_one(learner, stream)
    hidden = heard(learner.module[3])
    learn_one(learner, stream)
    own, rehearsed = (set(open_units(method, 0, 10, task)) for task in (1, 0))
    assert own != rehearsed
    assert own == set(hidden[0][:8].any(0).nonzero().flatten().tolist())
    assert rehearsed == set(hidden[0][8:].any(0).nonzero().flatten().tolist())


def test_an_average_of_the_weights_predicts_under_the_same_gates() -> None:
    method = Xdg(share=0.8)
    learner = gated(method, ema=0.9)
    learn_all(learner, digit_stream(2, task_ids=True))
    with learner.predicting(1):
        hidden = heard(learner.module[3])
        learner.outputs(torch.rand(5, 1, 8, 8), torch.ones(5, dtype=torch.int64))
    assert set(hidden[0].any(0).nonzero().flatten().tolist()) <= set(open_units(method, 0, 10, 1))


def accuracy(*methods: Any) -> float:
    """Mean accuracy over three orders of the pixels of digits, after the last."""
    scenario = Permuted(data=Digits(), experiences=3, visibility=Visibility(task_ids="visible"))
    stream = scenario.make(Seeds(0), Budget(epochs=3))
    settings = {"network": Mlp(hidden=(100, 100)), "batch_size": 32}
    learner = prepared(classifier(*methods, **settings), stream, encoder=Standardize())
    learn_all(learner, stream)
    right = [learner.predict(e.test.read()[0], e.task_id)[0] == e.test.targets for e in stream]  # type: ignore[union-attr]
    return float(torch.stack([r.float().mean() for r in right]).mean())


def test_gates_and_a_penalty_together_keep_more_than_either() -> None:
    gates, penalty = accuracy(Xdg(share=0.8)), accuracy(Ewc(strength=1000.0, samples=200))
    both = accuracy(Xdg(share=0.8), Ewc(strength=1000.0, samples=200))
    assert both > max(gates, penalty) + 0.02, (gates, penalty, both)


def test_a_network_without_hidden_activations_is_refused() -> None:
    message = "xdg does not support .* the network has none that is a module; use mlp"
    with pytest.raises(UnsupportedError, match=message):
        gated(Xdg(), network=Linear())


def test_a_network_with_layers_of_each_task_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"xdg does not support .* already has separate layers for each task"):
        gated(Xdg(), network=Progressive(hidden=(5,)))


def test_a_learner_that_shows_its_network_no_task_ids_is_told() -> None:
    stream = digit_stream(2, task_ids=True)
    learner = prepared(ICarl(methods=(Xdg(),), capacity=10, network=Mlp(hidden=(5,))), stream)
    with pytest.raises(UnsupportedError, match="xdg selects units by the task id, which this learner does not pass"):
        learn_one(learner, stream)
