"""Herding: the order of exemplars by hand, and how many of each class stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import classifier, digit_stream, prepared

from rlcl.encoders.scale import Scale
from rlcl.errors import UnsupportedError
from rlcl.methods.memories.herding import HerdingMemory, herding_order
from rlcl.methods.parts.features import features
from rlcl.networks.mlp import Mlp
from rlcl.types import Batch, Host


def herding(capacity: int | None = None, per_class: int | None = None) -> HerdingMemory:
    rng = np.random.default_rng(0)
    return HerdingMemory(capacity, rng, per_class=per_class, features=lambda batch: batch.inputs)


def kept(memory: HerdingMemory) -> dict[int, list[float]]:
    labels = memory.at(np.arange(len(memory)))["targets"].tolist()
    return {label: memory.of_class(label)["inputs"].flatten().tolist() for label in dict.fromkeys(labels)}


def test_the_first_have_the_mean_of_all() -> None:
    # Mean 4: 3 is nearest; then (3 + x) / 2 is nearest to 4 for 6; then (9 + x) / 3 for 2 (3.67); then 8 (4.75).
    x = torch.tensor([[8.0], [1.0], [3.0], [6.0], [2.0]])
    assert [2, 3, 4, 0] == herding_order(x, 4).tolist()
    assert [2, 3, 4, 0, 1] == herding_order(x, 9).tolist()


def test_it_is_not_the_order_of_distances() -> None:
    x = torch.tensor([[1.0], [2.0], [9.0]])  # mean 4: 2 is nearest, then (2 + 9) / 2 = 5.5, not (2 + 1) / 2 = 1.5
    assert [1, 2] == herding_order(x, 2).tolist()


def test_as_classes_come_the_first_chosen_stay() -> None:
    memory = herding(capacity=7)
    x = torch.tensor([[8.0], [1.0], [3.0], [6.0], [2.0]])
    memory.insert(inputs=x, targets=torch.zeros(5, dtype=torch.int64))
    assert {0: [3.0, 6.0, 2.0, 8.0, 1.0]} == kept(memory)
    memory.insert(inputs=10 * x, targets=torch.ones(5, dtype=torch.int64))
    assert {0: [3.0, 6.0, 2.0, 8.0], 1: [30.0, 60.0, 20.0]} == kept(memory)  # 7 slots: 4 and 3
    memory.insert(inputs=x, targets=torch.full((5,), 2))
    assert {0: [3.0, 6.0, 2.0], 1: [30.0, 60.0], 2: [3.0, 6.0]} == kept(memory)
    assert (7, 15) == (len(memory), memory.seen)


def test_by_class_nothing_leaves() -> None:
    memory = herding(per_class=2)
    for label in range(3):
        memory.insert(inputs=torch.tensor([[1.0], [2.0], [3.0]]), targets=torch.full((3,), label))
    assert {0: [2.0, 1.0], 1: [2.0, 1.0], 2: [2.0, 1.0]} == kept(memory)


def test_a_class_that_comes_again_is_chosen_anew() -> None:
    memory = herding(per_class=2)
    memory.insert(inputs=torch.tensor([[0.0], [2.0]]), targets=torch.zeros(2, dtype=torch.int64))
    memory.insert(inputs=torch.tensor([[4.0], [6.0]]), targets=torch.zeros(2, dtype=torch.int64))
    assert {0: [2.0, 4.0]} == kept(memory)  # of 0, 2, 4, 6 with the mean 3


def test_features_are_what_the_last_layer_reads() -> None:
    stream = digit_stream(2)
    learner = prepared(classifier(network=Mlp(hidden=(16, 5), dropout=0.5)), stream, encoder=Scale(maximum=16.0))
    learner.module.train()
    x = stream[0].train.read()[0][:9] / 16  # type: ignore[union-attr]
    learner.module.eval()
    with torch.no_grad():
        expected = learner.module[:-1](x)
    learner.module.train()
    found = features(learner.host, Batch(x))
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True).clamp(min=1e-12))
    assert learner.module.training
    assert not learner.module[1]._forward_pre_hooks


def test_a_network_without_a_linear_layer_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = digit_stream(2)
    learner: Host = prepared(classifier(), stream)
    monkeypatch.setattr(learner, "module", torch.nn.Flatten())
    with pytest.raises(UnsupportedError, match="its network has no linear layer"):
        features(learner.host, Batch(torch.zeros(2, 1, 8, 8)))
