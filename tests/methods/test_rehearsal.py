"""Rehearsal: one mean loss over the minibatch and what was drawn from memory."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import torch
import torch.nn.functional as F
from attrs import define, field
from harness import (
    FewDigits,
    autoencoder,
    classifier,
    differences,
    digit_stream,
    learn_all,
    learn_one,
    learning,
    prepared,
    restore,
    snapshot,
)
from torch import Tensor, nn

from rlcl.data.augmentations import Noise
from rlcl.data.readers.scikit import Diabetes
from rlcl.data.sources import UnlabelledArrays
from rlcl.encoders.scale import Scale
from rlcl.errors import Problem, UnsupportedError
from rlcl.learners.supervised.classifier import Classifier
from rlcl.learners.supervised.icarl import ICarl
from rlcl.learners.supervised.regressor import Regressor
from rlcl.learners.unsupervised.barlow_twins import BarlowTwins
from rlcl.learners.update import split_batch
from rlcl.methods.rehearsal import Rehearsal
from rlcl.seeding import Seeds
from rlcl.streams.single import Single
from rlcl.types import Batch, Budget, Experience


@define
class Tape:
    """Batches as the loss saw them, and how much the memory had seen at that time."""

    batches: list[Batch] = field(factory=list)
    seen: list[int] = field(factory=list)


Taped = Callable[..., tuple[Any, Tape]]


@pytest.fixture
def taped(monkeypatch: pytest.MonkeyPatch) -> Taped:
    """Learns two experiences of a number of updates, writing down what the loss is given."""

    def run(method: Rehearsal, updates: int, task_ids: bool = False) -> tuple[Any, Tape]:
        stream = digit_stream(2, budget=Budget(updates=updates), task_ids=task_ids)
        learner = prepared(classifier(method), stream, encoder=Scale(maximum=16.0))
        tape = Tape()
        loss = learner.objective.loss

        def taping(batch: Batch) -> Tensor:
            tape.batches.append(batch)
            tape.seen.append(method.memory.seen)
            taken: Tensor = loss(batch)
            return taken

        with monkeypatch.context() as patch:
            patch.setattr(learner.objective, "loss", taping)
            learn_all(learner, stream)
        return learner, tape

    return run


def test_the_memory_joins_the_batch_from_the_second_update_on(taped: Taped) -> None:
    _, tape = taped(Rehearsal(capacity=20, batch_size=5), 3)
    assert [len(batch.inputs) for batch in tape.batches] == [8, 8 + 5, 8 + 5, 8 + 5, 8 + 5, 8 + 5]


def test_a_batch_is_inserted_after_the_update_that_it_served(taped: Taped) -> None:
    _, tape = taped(Rehearsal(capacity=20, batch_size=5), 3)
    assert tape.seen == [0, 8, 16, 24, 32, 40]


def test_the_loss_is_one_mean_over_both(taped: Taped) -> None:
    method = Rehearsal(capacity=20, batch_size=5)
    learner, tape = taped(method, 3)
    batch = tape.batches[-1]
    with torch.no_grad():
        losses = F.cross_entropy(learner.outputs(batch.inputs), batch.targets, reduction="none")
        now = learner.loss(batch)
    torch.testing.assert_close(now, (losses[:8].sum() + losses[8:].sum()) / 13)


def test_what_is_drawn_was_learned_before(taped: Taped) -> None:
    _, tape = taped(Rehearsal(capacity=20, batch_size=5), 6)
    met: set[bytes] = set()
    for batch in tape.batches:
        current, drawn = batch.inputs[:8], batch.inputs[8:]
        assert all(row.numpy().tobytes() in met for row in drawn)
        met |= {row.numpy().tobytes() for row in current}


def test_the_second_experience_rehearses_labels_of_the_first(taped: Taped) -> None:
    _, tape = taped(Rehearsal(capacity=20, batch_size=8), 6)
    drawn = torch.cat([batch.targets[8:] for batch in tape.batches[6:] if batch.targets is not None])
    assert bool((drawn < 2).any())


def test_inputs_and_targets_stay_together(taped: Taped) -> None:
    _, tape = taped(Rehearsal(capacity=20, batch_size=5), 6)
    label: dict[bytes, int] = {}
    for batch in tape.batches:
        assert batch.targets is not None
        for row, target in zip(batch.inputs, batch.targets.tolist(), strict=True):
            assert label.setdefault(row.numpy().tobytes(), target) == target


def test_rehearsed_examples_keep_their_own_task_ids(taped: Taped) -> None:
    _, tape = taped(Rehearsal(capacity=20, batch_size=8), 6, task_ids=True)
    for batch in tape.batches:
        assert batch.targets is not None
        assert batch.task_ids is not None
        assert torch.equal(batch.targets // 2, batch.task_ids)


def test_it_serves_data_without_labels() -> None:
    method = Rehearsal(capacity=20, batch_size=5)
    stream = digit_stream(2)
    learner = prepared(autoencoder(method), stream)
    learn_all(learner, stream)
    assert len(method.memory) == 20


def test_the_batch_that_methods_see_is_without_the_memory(taped: Taped) -> None:
    learner, _ = taped(Rehearsal(capacity=20, batch_size=5), 3)
    assert len(learner.batch.inputs) == 8


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "exactly one of capacity, capacity_bytes, per_class; got none"),
        ({"capacity": 9, "per_class": 3}, "got capacity, per_class"),
        ({"per_class": 3}, "per_class: reservoir ignores classes"),
        ({"per_class": 3, "memory": "gss"}, "per_class: gss ignores classes"),
        ({"capacity": 9, "memory": "ring"}, "per_class: expected an integer: memory: ring"),
        ({"capacity": 9, "memory": "herding"}, "fill: herding selects from whole experiences"),
    ],
)
def test_sizes_that_do_not_go_with_a_memory_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(Problem, match=expected):
        Rehearsal(**settings)


@pytest.mark.parametrize("mixing", ["sum", "weighted"])
def test_other_mixings_need_a_loss_that_weighs_examples(mixing: Any) -> None:
    learner = BarlowTwins(augment=(Noise(),), methods=(Rehearsal(capacity=9, mixing=mixing),))
    message = "rehearsal does not support learner barlow_twins: it needs shares, and "
    with pytest.raises(UnsupportedError, match=message):
        prepared(learner, digit_stream(2))


def test_classes_are_needed_where_the_memory_goes_by_them() -> None:
    stream = digit_stream(2)
    unlabelled = attrs.evolve(stream, experiences=tuple(_without_labels(e) for e in stream))
    learner = prepared(autoencoder(Rehearsal(capacity=9, memory="class_balanced")), unlabelled)
    with pytest.raises(UnsupportedError, match="memory class_balanced needs class labels; use reservoir or gss"):
        learn_all(learner, unlabelled)


def _without_labels(experience: Experience) -> Experience:
    x, _ = experience.train.read()  # type: ignore[union-attr]
    return attrs.evolve(experience, train=UnlabelledArrays(x))


# The mean losses of minibatch and memory batch, in the third update of the second experience.


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize(
    ("mixing", "fill", "own", "memorys"),
    [
        ("sum", "minibatches", 1, 1),
        ("sum", "experience", 1, 1),
        ("weighted", "experience", 1 / 2, 1 / 2),
        ("weighted", "minibatches", 1 / 2, 1 / 2),
    ],
)
def test_losses_mix_as_they_are_told(
    taped: Taped, mixing: Any, fill: Any, own: float, memorys: float, accumulate: int
) -> None:
    learner, tape = taped(Rehearsal(capacity=100, batch_size=5, fill=fill, mixing=mixing), 3)
    batch = tape.batches[-1]
    with torch.no_grad():
        now = sum(learner.loss(part) * len(part.inputs) / 13 for part in split_batch(batch, accumulate))
        each = F.cross_entropy(learner.outputs(batch.inputs), batch.targets, reduction="none")
    torch.testing.assert_close(now, own * each[:8].mean() + memorys * each[8:].mean())


def test_weighted_rehearses_nothing_in_the_first_experience_and_a_third_in_the_third() -> None:
    method = Rehearsal(capacity=100, batch_size=5, mixing="weighted")
    stream = digit_stream(4, budget=Budget(updates=3), data=FewDigits(per_class=24))
    learner = prepared(classifier(method), stream)
    seen = []
    for count, _ in enumerate(learning(learner, stream)):
        if count % 3 == 1:
            joined = learner._attached.extra(learner.batch)
            seen.append((len(joined.inputs), None if joined.weights is None else joined.weights[[0, -1]].tolist()))
    # Factors in a mean over 13 examples: 13 / 8 / t of the minibatch's 8, and 13 / 5 (1 - 1 / t) of the memory's 5.
    expected = [(8, None)] + [(13, pytest.approx([13 / 8 / t, 13 / 5 * (1 - 1 / t)])) for t in (2, 3, 4)]
    assert expected == seen


def test_weighted_draws_equally_many_of_each_task() -> None:
    method = Rehearsal(per_class=4, memory="class_balanced", batch_size=8, fill="experience", mixing="weighted")
    stream = digit_stream(4, budget=Budget(updates=3), data=FewDigits(per_class=24), task_ids=True)
    learner = prepared(classifier(method), stream, encoder=Scale(maximum=16.0))
    drawn = [learner._attached.extra(learner.batch).task_ids[8:] for _ in learning(learner, stream)]
    # A class each: none, then 4 of one task (all there is), 4 of each of two, 3 of each of three (8 / 3 rounded up).
    assert [[], [4], [4, 4], [3, 3, 3]] == [torch.bincount(ids).tolist() for ids in drawn[::3]]


@pytest.mark.parametrize(
    "settings",
    [
        {"memory": "class_balanced", "capacity": 9},
        {"memory": "class_balanced", "per_class": 3},
        {"memory": "class_balanced", "capacity_bytes": 3000},
        {"memory": "ring", "per_class": 3},
        {"memory": "herding", "capacity": 9, "fill": "experience"},
        {"memory": "herding", "per_class": 3, "fill": "experience"},
        {"memory": "gss", "capacity": 9, "compared": 3},
        {"mixing": "sum", "capacity": 9},
        {"mixing": "weighted", "capacity": 9},
    ],
    ids=str,
)
@pytest.mark.parametrize("updates", [3, 6, 8])
def test_interrupted_with_any_memory_it_ends_the_same(settings: dict[str, Any], updates: int) -> None:
    def new(seed: int = 0) -> Any:
        method = Rehearsal(batch_size=4, **settings)
        return prepared(classifier(method), stream, encoder=Scale(maximum=16.0), seed=seed)

    stream = digit_stream(2, budget=Budget(updates=5))
    through, stopped, fresh = new(), new(), new(7)
    learn_all(through, stream)
    for _ in zip(range(updates), learning(stopped, stream), strict=False):
        pass
    restore(fresh, snapshot(stopped))
    learn_all(fresh, stream)
    assert [] == differences(snapshot(through), snapshot(fresh))
    assert len(through.methods[0].memory) >= 9


def test_a_memory_filled_at_the_end_rehearses_nothing_of_the_present_experience(taped: Taped) -> None:
    method = Rehearsal(capacity=100, batch_size=5, fill="experience")
    _, tape = taped(method, 3)
    assert [len(batch.inputs) for batch in tape.batches] == [8, 8, 8, 8 + 5, 8 + 5, 8 + 5]
    assert [0, 0, 0, 26, 26, 26] == tape.seen  # two classes of 13
    assert all(set(batch.targets[8:].tolist()) <= {0, 1} for batch in tape.batches[3:])  # type: ignore[index]
    assert 52 == method.memory.seen


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({"memory": "ring", "per_class": 4}, [4, 4, 4, 4]),
        ({"memory": "ring", "per_class": 99}, [13, 13, 13, 13]),
        ({"memory": "class_balanced", "per_class": 4}, [4, 4, 4, 4]),
        ({"memory": "class_balanced", "capacity": 12}, [3, 3, 3, 3]),
        ({"memory": "class_balanced", "capacity_bytes": 12 * (64 * 4 + 8)}, [3, 3, 3, 3]),
    ],
    ids=str,
)
def test_memories_by_class_can_be_filled_at_the_end(taped: Taped, settings: dict[str, Any], counts: list[int]) -> None:
    method = Rehearsal(batch_size=5, fill="experience", **settings)
    _, tape = taped(method, 3)
    assert [0, 0, 0, 26, 26, 26] == tape.seen
    assert all(set(batch.targets[8:].tolist()) <= {0, 1} for batch in tape.batches[3:])  # type: ignore[index]
    assert counts == torch.bincount(method.memory.contents()["targets"]).tolist()


def test_a_ring_that_is_filled_at_the_end_draws_its_examples_from_all_of_a_class() -> None:
    stream = digit_stream(2)
    method = Rehearsal(memory="ring", per_class=4, fill="experience")
    learner = prepared(classifier(method), stream)
    order = copy.deepcopy(method.memory.rng).permutation(26)  # of the whole experience, the memory's first draw
    learn_one(learner, stream)
    x, y = stream[0].train.read()  # type: ignore[union-attr]
    held = method.memory.contents()
    for label in (0, 1):
        latest = [row for row in order if y[row] == label][-4:]
        expected = {x[row].float().numpy().tobytes() for row in latest}
        assert expected == {row.numpy().tobytes() for row in held["inputs"][held["targets"] == label]}


def test_a_memory_by_classes_is_refused_before_training_where_numbers_are_predicted() -> None:
    learner = Regressor(methods=(Rehearsal(capacity=9, memory="herding", fill="experience"),))
    stream = Single(data=Diabetes()).make(Seeds(0), Budget(epochs=1))
    with pytest.raises(UnsupportedError, match="memory herding needs class labels; use reservoir or gss"):
        prepared(learner, stream)


def test_herding_needs_a_network_with_features() -> None:
    learner = Classifier(
        network=Convolutional(), methods=(Rehearsal(capacity=99, memory="herding", fill="experience"),)
    )
    with pytest.raises(UnsupportedError, match="memory herding needs a network with a linear layer"):
        prepared(learner, digit_stream(2))
    with pytest.raises(UnsupportedError, match=r"learner\.network: icarl needs a network with a linear layer"):
        prepared(ICarl(network=Convolutional(), capacity=99), digit_stream(2))


class Convolutional:
    """A network without a linear layer, as a fully convolutional one."""

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Unflatten(1, (1, -1)), nn.Conv1d(1, outputs, math.prod(shape)), nn.Flatten()
        )
