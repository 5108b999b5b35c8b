"""Learning without forgetting: the distance by hand, and what the teacher is."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from harness import (
    added_gradients,
    autoencoder,
    cartpoles,
    classifier,
    digit_stream,
    learn_one,
    learning,
    ppo,
    prepared,
)
from torch import Tensor, nn

from rlcl.encoders.scale import Scale
from rlcl.errors import UnsupportedError
from rlcl.methods.lwf import Lwf, soft_cross_entropy
from rlcl.networks.mlp import Mlp
from rlcl.networks.multihead import Multihead
from rlcl.types import Budget, Network

BOTH = torch.tensor([[True, True, False]])


def test_two_classes_by_hand() -> None:
    # At temperature 2, logits 2 log 3 and 0 are probabilities 3/4 and 1/4; the student's are 1/2 and 1/2.
    before, now = torch.tensor([[[2 * math.log(3), 0.0, 9.0]]]), torch.tensor([[[1.0, 1.0, -9.0]]])
    assert pytest.approx(math.log(2)) == float(soft_cross_entropy(now, before, BOTH, 2.0))
    # The other way about: -(1/2) log(3/4) - (1/2) log(1/4).
    expected = -(math.log(3 / 4) + math.log(1 / 4)) / 2
    assert pytest.approx(expected) == float(soft_cross_entropy(before, now, BOTH, 2.0))


def test_it_is_the_mean_over_inputs_by_head() -> None:
    generator = torch.Generator().manual_seed(0)
    now, before = torch.randn(5, 1, 4, generator=generator), torch.randn(5, 1, 4, generator=generator)
    heads = torch.tensor([[True, True, False, False], [False, False, True, True]])
    expected = []
    for part in (slice(0, 2), slice(2, 4)):
        q, log_p = (before[:, 0, part] / 3).softmax(1), (now[:, 0, part] / 3).log_softmax(1)
        expected.append(-(q * log_p).sum() / 5)
    torch.testing.assert_close(soft_cross_entropy(now, before, heads, 3.0), torch.stack(expected))


def network(learner: Any) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in learner.module.state_dict().items()}


def taught(method: Lwf, experiences: int, **settings: Any) -> tuple[Any, dict[str, Tensor]]:
    """The learner one update into an experience, and its weights at the boundary before."""
    task_ids = settings.pop("task_ids", False)
    stream = digit_stream(experiences + 1, budget=Budget(updates=6), task_ids=task_ids)
    learner = prepared(classifier(method, **settings), stream, encoder=Scale(maximum=16.0))
    for _ in range(experiences):
        learn_one(learner, stream)
    teacher = network(learner)
    next(learning(learner, stream))
    return learner, teacher


def assert_added(learner: Any, loss: Tensor) -> None:
    """The loss's gradients are those that the method adds, and they are some."""
    parameters = dict(learner.module.named_parameters())
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    assert any(g is not None and float(g.abs().max()) > 1e-6 for g in gradients)
    actual = added_gradients(learner)
    for name, value in zip(parameters, gradients, strict=True):
        if value is None:
            assert actual[name] is None, name
        else:
            torch.testing.assert_close(actual[name], value, rtol=1e-4, atol=1e-7)


def distance(now: Tensor, before: Tensor, classes: list[int]) -> Tensor:
    """At temperature 2."""
    q, log_p = (before[:, classes] / 2).softmax(1), (now[:, classes] / 2).log_softmax(1)
    return -(q * log_p).sum(1).mean()


def outputs_of(learner: Any, weights: dict[str, Tensor], x: Tensor, *ids: Tensor) -> Tensor:
    y: Tensor = torch.func.functional_call(learner.module, weights, (x, *ids))
    return y.detach()


@pytest.mark.parametrize(("units", "classes"), [("seen", [0, 1]), ("all", [0, 1, 2, 3])])
def test_where_ids_are_hidden_there_is_one_head(units: Any, classes: list[int]) -> None:
    learner, teacher = taught(Lwf(strength=3.0, units=units), 1)
    x = learner.batch.inputs
    before = outputs_of(learner, teacher, x)
    assert_added(learner, 3.0 * distance(learner.outputs(x), before, classes))


@pytest.mark.parametrize(("weighting", "factor"), [("heads", 1), ("mean", 1 / 3), ("experiences", 1)])
def test_where_ids_are_shown_every_past_task_has_a_head(weighting: Any, factor: float) -> None:
    method = Lwf(strength=2.0, weighting=weighting)
    stream = digit_stream(2, budget=Budget(updates=6), task_ids=True)
    learner = prepared(classifier(method), stream, encoder=Scale(maximum=16.0))
    learn_one(learner, stream)
    teacher = network(learner)
    next(learning(learner, stream))
    # Two more heads are put beside the first, as later boundaries would.
    method._heads = {t: torch.tensor([t <= k <= t + 1 for k in range(4)]) for t in range(3)}
    method._experiences = 3
    x = learner.batch.inputs
    now, before = learner.module(x), outputs_of(learner, teacher, x)
    parts = [distance(now, before, [t, t + 1]) for t in range(3)]
    assert_added(learner, 2.0 * factor * sum(parts))  # type: ignore[arg-type]


def test_a_task_id_chooses_the_classes_of_its_head() -> None:
    method = Lwf()
    stream = digit_stream(2, task_ids=True)
    learner = prepared(classifier(method), stream)
    seen = []
    for _ in stream:
        learn_one(learner, stream)
        seen.append({task: classes.nonzero().flatten().tolist() for task, classes in method._heads.items()})
    assert [{0: [0, 1]}, {0: [0, 1], 1: [2, 3]}] == seen


def test_where_ids_are_hidden_classes_gather_in_the_one_head() -> None:
    method = Lwf()
    stream = digit_stream(2)
    learner = prepared(classifier(method), stream)
    seen = []
    for _ in stream:
        learn_one(learner, stream)
        seen.append({task: classes.nonzero().flatten().tolist() for task, classes in method._heads.items()})
    assert [{0: [0, 1]}, {0: [0, 1, 2, 3]}] == seen


@pytest.mark.parametrize("weighting", ["mean", "experiences"])
def test_one_head_can_weigh_as_many_as_the_past_experiences(weighting: Any) -> None:
    learner, teacher = taught(Lwf(strength=1.0, units="all", weighting=weighting), 2, network=Mlp(hidden=(8,)))
    x = learner.batch.inputs
    factor = 2 if weighting == "experiences" else 1
    classes = list(range(4))
    assert_added(learner, factor * distance(learner.outputs(x), outputs_of(learner, teacher, x), classes))


def test_a_head_module_a_task() -> None:
    body = Multihead(body=Mlp(hidden=(16,)), features=16)
    learner, teacher = taught(Lwf(strength=1.0), 1, network=body, task_ids=True)
    x, first = learner.batch.inputs, torch.zeros(len(learner.batch.inputs), dtype=torch.int64)
    now, before = learner.module(x, first), outputs_of(learner, teacher, x, first)
    assert_added(learner, distance(now, before, [0, 1]))


def test_other_outputs_are_held_by_their_squared_distance() -> None:
    stream = digit_stream(2, budget=Budget(updates=6))
    learner = prepared(autoencoder(Lwf(strength=2.0)), stream, encoder=Scale(maximum=16.0))
    learn_one(learner, stream)
    teacher = network(learner)
    next(learning(learner, stream))
    x = learner.batch.inputs
    assert_added(learner, 2.0 * (learner.outputs(x) - outputs_of(learner, teacher, x)).square().mean())


def test_at_the_boundary_itself_it_adds_nothing() -> None:
    learner, _ = taught(Lwf(), 1)
    learner.module.load_state_dict({n.removeprefix("module."): t for n, t in learner.methods[0]._teacher.items()})
    assert all(float(g.abs().max()) < 1e-6 for g in added_gradients(learner).values() if g is not None)


def test_nothing_is_added_before_the_first_boundary() -> None:
    learner, _ = taught(Lwf(), 0)
    assert all(g is None for g in added_gradients(learner).values())


class WithStatistics(Network):
    """A network with batch norm."""

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int) -> nn.Module:
        width = math.prod(shape)
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(width), nn.Linear(width, outputs))


def test_the_teacher_has_its_own_running_statistics_and_the_student_the_minibatchs() -> None:
    learner, teacher = taught(Lwf(), 1, network=WithStatistics())
    x = learner.batch.inputs
    learner.module.eval()
    before = outputs_of(learner, teacher, x)
    learner.module.train()
    assert_added(learner, distance(learner.outputs(x), before, [0, 1]))
    assert learner.module.training


@pytest.mark.parametrize("task_ids", [False, True])  # in the pass of the loss, and in one of its own
def test_running_statistics_see_each_minibatch_once(task_ids: bool) -> None:
    learner, _ = taught(Lwf(), 1, network=WithStatistics(), task_ids=task_ids)
    assert learner.module[1].num_batches_tracked == 7


@pytest.mark.parametrize("units", ["seen", "all"])
def test_a_policy_is_refused_with_either_choice_of_classes(units: Any) -> None:
    with pytest.raises(UnsupportedError, match="lwf does not support learner ppo: it needs targets"):
        prepared(ppo(Lwf(units=units)), cartpoles(16))
