"""iCaRL: its loss by hand, its exemplars, and prediction by their means."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from harness import FewDigits, digit_stream, learn_all, learn_one, learning, prepared
from torch import Tensor

from rlcl.encoders.scale import Scale
from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Adam
from rlcl.learners.supervised.icarl import ICarl, icarl_loss
from rlcl.methods.parts.features import features
from rlcl.networks.mlp import Mlp
from rlcl.types import Batch, Budget

EPOCHS = Budget(epochs=20)


def icarl(stream: Any, **settings: Any) -> Any:
    settings = {"capacity": 12, "network": Mlp(hidden=(32,)), "optimizer": Adam(lr=0.01), "batch_size": 8, **settings}
    return prepared(ICarl(**settings), stream, encoder=Scale(maximum=16.0))


def accuracy(learner: Any, stream: Any) -> list[float]:
    return [float((learner.predict(e.test.read()[0])[0] == e.test.read()[1]).float().mean()) for e in stream]


def test_new_classes_follow_the_targets_and_old_ones_the_teacher() -> None:
    logits = torch.tensor([[0.0, math.log(3), 5.0]])  # probabilities 1/2, 3/4, and a class that is not seen
    teacher = torch.tensor([[math.log(4), -9.0, -9.0]])  # 4/5 for the old class
    found = icarl_loss(logits, teacher, torch.tensor([1]), [0], [1])
    old = -(0.8 * math.log(0.5) + 0.2 * math.log(0.5))
    assert pytest.approx(old - math.log(0.75)) == float(found)


def test_without_a_teacher_it_is_the_cross_entropy_of_each_class() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    expected = (-math.log(0.5) - math.log(0.25) - 2 * math.log(0.5)) / 2
    assert pytest.approx(expected) == float(icarl_loss(logits, None, torch.tensor([0, 1]), [], [0, 1]))


def test_it_remembers() -> None:
    stream = digit_stream(2, budget=EPOCHS)
    learner = icarl(stream)
    learn_one(learner, stream)
    first = accuracy(learner, stream)
    assert first[0] >= 0.8
    assert first[1] == 0  # classes to come have no exemplars
    learn_all(learner, stream)
    assert min(accuracy(learner, stream)) >= 0.8


def test_exemplars_are_shared_by_the_classes_seen() -> None:
    stream = digit_stream(2, budget=Budget(epochs=1))
    learner = icarl(stream)
    counts = []
    for _ in stream:
        learn_one(learner, stream)
        counts.append(torch.bincount(learner.memory.contents()["targets"]).tolist())
    assert [[6, 6], [3, 3, 3, 3]] == counts


def test_it_predicts_the_nearest_mean_of_exemplars() -> None:
    stream = digit_stream(2, budget=Budget(epochs=2))
    learner = icarl(stream)
    learn_all(learner, stream)
    x = stream[0].test.read()[0]  # type: ignore[union-attr]
    held = learner.memory.contents()
    stored, queries = features(learner.host, Batch(held["inputs"])), features(learner.host, Batch(x / 16))
    means = torch.stack([F.normalize(stored[held["targets"] == k].mean(0), dim=0) for k in range(4)])
    nearest = (queries[:, None] - means[None]).square().sum(2).argmin(1)
    assert torch.equal(nearest, learner.predict(x)[0])


def test_a_loaded_state_predicts_by_its_own_means() -> None:
    stream = digit_stream(2, budget=EPOCHS)
    first, second = icarl(stream), icarl(stream, optimizer=Adam(lr=1e-4))
    x = stream[0].test.read()[0]  # type: ignore[union-attr]
    for learner in (first, second):
        learn_one(learner, stream)
    second.predict(x)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first._class_means(), second._class_means())


def test_the_teacher_is_the_network_of_the_last_boundary() -> None:
    stream = digit_stream(2, budget=Budget(updates=3))
    learner = icarl(stream)
    learn_one(learner, stream)
    ended = {name: tensor.clone() for name, tensor in learner.module.state_dict().items()}
    next(learning(learner, stream))
    assert all(torch.equal(ended[name], tensor) for name, tensor in learner._exemplars.teacher.items())
    assert any(not torch.equal(ended[name], tensor) for name, tensor in learner.module.state_dict().items())


def test_exemplars_join_the_minibatch_from_the_second_experience_on() -> None:
    stream = digit_stream(2, budget=Budget(updates=2))
    learner = icarl(stream, memory_batch_size=5)
    sizes = []
    for experience in stream:
        for _ in learner.learn(experience):
            sizes.append(len(learner._attached.extra(learner.batch).inputs))
    assert [8, 8 + 5, 8 + 5, 8 + 5] == sizes  # the second is asked after the boundary


def test_hidden_boundaries_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="this stream hides where an experience ends"):
        icarl(digit_stream(2, boundaries="hidden"))


class Shifting:
    """Adds one random number to all inputs of a minibatch."""

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x + torch.rand((), generator=generator)


def test_the_teacher_sees_the_very_inputs_that_the_student_sees() -> None:
    stream = digit_stream(2, budget=Budget(updates=3))
    learner = icarl(stream, augment=[Shifting()])
    learn_one(learner, stream)
    seen: list[Tensor] = []
    learner.module.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach().clone()))
    steps = learning(learner, stream)
    next(steps)
    student, teacher = seen
    assert torch.equal(student, teacher)
    assert not torch.equal(learner.batch.inputs, student[: len(learner.batch.inputs)])


@pytest.mark.parametrize("stored", ["encoded", "raw"])
def test_fewer_exemplars_than_classes_are_refused_with_how_many_are_needed(stored: Any) -> None:
    stream = digit_stream(2, data=FewDigits(classes=8))
    with pytest.raises(UnsupportedError, match=r"learner\.capacity: expected at least 8, .* the 8 classes .*, got 5"):
        icarl(stream, capacity=5, stored=stored)
    each = 64 * 4 + 8  # bytes of an image of 64 float32, and of its class
    with pytest.raises(UnsupportedError, match=r"learner\.capacity_bytes: expected at least 2,112, .* got 2,111"):
        icarl(stream, capacity=None, capacity_bytes=8 * each - 1, stored=stored)
    icarl(stream, capacity=8, stored=stored)
    icarl(stream, capacity=None, capacity_bytes=8 * each, stored=stored)


def test_a_class_whose_exemplars_were_deleted_is_not_predicted() -> None:
    stream = digit_stream(2, budget=EPOCHS)
    learner = icarl(stream)
    learn_all(learner, stream)
    memory = learner.memory
    kept = memory._columns["targets"] != 1
    memory._columns = {name: column[kept] for name, column in memory._columns.items()}
    learner._means = None
    first, second = accuracy(learner, stream)
    assert 0.4 <= first <= 0.5  # of classes 0 and 1 one is left
    assert second >= 0.8
