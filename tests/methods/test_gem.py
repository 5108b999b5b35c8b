"""GEM and A-GEM: projections by hand, and what they do to a learner's gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from harness import (
    FewDigits,
    added_gradients,
    autoencoder,
    avalanche,
    classifier,
    differences,
    digit_stream,
    learn_all,
    learn_one,
    learning,
    prepared,
    restore,
    snapshot,
    weights,
)
from torch import Tensor, nn

from rlcl.encoders.scale import Scale
from rlcl.errors import Problem
from rlcl.learners.optimizers import Sgd
from rlcl.methods.a_gem import AGem, project
from rlcl.methods.gem import Gem, cone_weights
from rlcl.methods.l2_init import L2Init
from rlcl.methods.parts.flat_gradients import flat_gradient, flat_gradient_of, write_flat_gradient
from rlcl.types import Batch, Budget

PROJECTIONS = {
    "against": ([1.0, -1.0], [0.0, 2.0], [1.0, 0.0]),
    "aslant": ([1.0, 0.0], [-1.0, 1.0], [0.5, 0.5]),
    "along": ([1.0, 1.0], [0.0, 2.0], [1.0, 1.0]),
    "across": ([1.0, 0.0], [0.0, 2.0], [1.0, 0.0]),
    "no reference": ([1.0, 1.0], [0.0, 0.0], [1.0, 1.0]),
}


@pytest.mark.parametrize("case", PROJECTIONS)
def test_a_gradient_is_projected_where_it_is_against_the_reference(case: str) -> None:
    gradient, reference, expected = map(torch.tensor, PROJECTIONS[case])
    assert torch.equal(expected, projected(gradient, reference))


def test_a_gradient_that_is_none_counts_as_0() -> None:
    reached, other = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    reached.grad = torch.tensor([-1.0])
    project([(reached, torch.tensor([-1.0])), (other, torch.tensor([1.0]))])
    assert other.grad is None  # the product is 1
    project([(reached, torch.tensor([1.0])), (other, torch.tensor([1.0]))])
    # (-1, 0) - (-1 / 2) (1, 1)
    assert [-0.5, 0.5] == [float(p.grad) for p in (reached, other) if p.grad is not None]


def projected(gradient: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    parameter = torch.nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient.clone()
    project([(parameter, reference)])
    return parameter.grad


# Rows of G, g, margin, and v: what is nearest to g within the cone is g + v G.
PROGRAMS: dict[str, tuple[list[list[float]], list[float], float, list[float]]] = {
    "one, against": ([[0, 2]], [1, -1], 0, [0.5]),
    "two, both against": ([[0, 1], [1, 0]], [-1, -2], 0, [2, 1]),
    "two, one against": ([[0, 1], [1, 0]], [1, -2], 0, [2, 0]),
    "two, one made right by the other": ([[0, 1], [1, 1]], [1, -2], 0, [2, 0]),
    "a margin that is passed": ([[0, 1]], [1, -1], 0.5, [1]),
    "a margin that counts": ([[0, 1]], [1, -0.2], 0.5, [0.5]),
    "a margin on what is not against": ([[0, 1], [1, 0]], [1, -2], 0.5, [2, 0.5]),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_the_weights_of_the_memories_gradients(case: str) -> None:
    rows, gradient, margin, expected = PROGRAMS[case]
    references = np.array(rows, dtype=float)
    found = cone_weights(references @ references.T, references @ np.array(gradient), margin)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_same_memory_twice_is_as_good_as_once() -> None:
    references = np.array([[0.0, 1.0], [0.0, 1.0]])  # a singular program
    weights = cone_weights(references @ references.T, references @ np.array([1.0, -1.0]), 0.0)
    np.testing.assert_allclose(weights @ references, [0, 1], atol=1e-9)


def test_the_result_lies_in_the_cone_and_no_feasible_vector_is_nearer() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        references, gradient = rng.normal(size=(4, 6)), rng.normal(size=6)
        found = gradient + cone_weights(references @ references.T, references @ gradient, 0.0) @ references
        assert (references @ found > -1e-9).all()
        # By convexity: no small step to a feasible point may come nearer.
        for _ in range(50):
            other = found + 0.01 * rng.normal(size=6)
            if (references @ other >= 0).all():
                assert np.linalg.norm(other - gradient) >= np.linalg.norm(found - gradient) - 1e-12


def test_a_gradient_that_is_none_stays_so_unless_the_vector_reaches_it() -> None:
    a, b, c = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    a.grad = torch.tensor([1.0, 2.0])
    parameters = {"a": a, "b": b, "c": c}
    assert [1.0, 2.0, 0.0, 0.0, 0.0, 0.0] == flat_gradient(parameters).tolist()
    assert [0.0, 0.0, 3.0, 3.0, 0.0, 0.0] == flat_gradient_of(3 * b.sum(), parameters).tolist()
    write_flat_gradient(parameters, torch.tensor([5.0, 6.0, 7.0, 8.0, 0.0, 0.0]))
    assert [5.0, 6.0] == a.grad.tolist()
    assert b.grad is not None
    assert [7.0, 8.0] == b.grad.tolist()
    assert c.grad is None


def after_two(*methods: Any, **settings: Any) -> Any:
    """A learner in its third experience."""
    stream = digit_stream(4, budget=Budget(updates=15), **settings)
    learner = prepared(classifier(*methods, optimizer=Sgd(lr=0.05)), stream, encoder=Scale(maximum=16.0))
    for _ in range(2):
        learn_one(learner, stream)
    next(learning(learner, stream))
    return learner


def flat(gradients: Mapping[str, Tensor | None]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients.values() if g is not None])


def stepped(learner: Any, gradient: Tensor) -> Tensor:
    """What the methods make of a gradient: the step is the learning rate times minus that."""
    parameters = dict(learner.module.named_parameters())
    before = torch.cat([p.detach().flatten().clone() for p in parameters.values()])
    for p in parameters.values():
        p.grad = torch.zeros_like(p)
    write_flat_gradient(parameters, gradient)
    learner.optimizers["network"].step()
    after = torch.cat([p.detach().flatten() for p in parameters.values()])
    return (before - after) / 0.05


def reference(learner: Any, batch: Batch) -> Tensor:
    return flat_gradient_of(learner.loss(batch), dict(learner.module.named_parameters()))


def test_a_gem_leaves_no_component_against_the_memory() -> None:
    method = AGem(capacity=20, batch_size=20)  # all of it, so that each draw is the same
    learner = after_two(method)
    against = -reference(learner, Batch(**method.memory.sample(20)))
    across = torch.zeros_like(against)
    across[:2] = torch.stack((-against[1], against[0]))  # no product with the reference
    along = stepped(learner, across - 3 * against)
    torch.testing.assert_close(along, across - 3 * against, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_a_gem_takes_away_what_is_against_the_memory(scale: float) -> None:
    method = AGem(capacity=20, batch_size=20)
    learner = after_two(method)
    against = -reference(learner, Batch(**method.memory.sample(20)))
    across = torch.zeros_like(against)
    across[:2] = torch.stack((-against[1], against[0]))
    torch.testing.assert_close(stepped(learner, across + scale * against), across, rtol=1e-3, atol=1e-4)


def test_gem_satisfies_every_past_experience() -> None:
    method = Gem(per_experience=10, margin=0.0)
    learner = after_two(method)
    references = torch.stack([reference(learner, memory.contents()) for memory in method._memories])
    assert 2 == len(references)
    gradient = -references.sum(0)
    assert bool((references @ gradient < 0).all())
    now = stepped(learner, gradient)
    assert bool((references @ now >= -1e-3 * references.square().sum(1)).all())


def test_gem_keeps_so_many_of_each_experience() -> None:
    method = Gem(per_experience=10)
    after_two(method)
    assert [10, 10] == [len(memory) for memory in method._memories]
    labels = [set(memory.memory.contents()["targets"].tolist()) for memory in method._memories]
    assert [{0}, {1}] == labels


def test_gem_reads_its_memory() -> None:
    states = []
    for zeroed in (False, True):
        method = Gem(per_experience=10)
        stream = digit_stream(2)
        learner = prepared(classifier(method), stream, encoder=Scale(maximum=16.0))
        learn_one(learner, stream)
        if zeroed:
            method._memories[0].contents().inputs.zero_()
        learn_one(learner, stream)
        states.append(flat(dict(learner.module.named_parameters())))
    assert not torch.equal(*states)


def test_penalties_are_projected_as_well() -> None:
    method = AGem(capacity=20, batch_size=20)
    learner = after_two(method, L2Init(strength=0.01))
    at_start = prepared(classifier(optimizer=Sgd(lr=0.05)), digit_stream(4), encoder=Scale(maximum=16.0))
    curvature = 0.02 * (flat(weights(learner)) - flat(weights(at_start)))  # back to where nothing was known
    against = reference(learner, Batch(**method.memory.sample(20)))
    assert float(curvature.dot(against)) < 0
    torch.testing.assert_close(flat(added_gradients(learner)), projected(curvature, against), rtol=1e-3, atol=1e-6)


def test_task_ids_choose_the_heads_of_the_memory() -> None:
    method = AGem(capacity=20, batch_size=20)
    after_two(method, task_ids=True)
    drawn = method.memory.sample(20)
    assert torch.equal(drawn["targets"], drawn["task_ids"])  # one class a task


def test_from_minibatches_no_boundaries_are_needed() -> None:
    method = AGem(capacity=20, batch_size=8, fill="minibatches")
    stream = digit_stream(2, boundaries="hidden")
    learner = prepared(classifier(method), stream, encoder=Scale(maximum=16.0))
    learn_all(learner, stream)
    assert 20 == len(method.memory)
    assert frozenset({"loss", "batch"}) == method.requires


def test_avalanches_strategies_are_served() -> None:
    stream = digit_stream(2)
    states = []
    for methods in ((), (Gem(per_experience=10),)):
        learner = prepared(avalanche(*methods), stream, encoder=Scale(maximum=16.0))
        learn_all(learner, stream)
        states.append(snapshot(learner)["learner"]["module"])
    assert any(not torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    "method", [AGem(capacity=20, batch_size=20), Gem(per_experience=20, margin=0.0)], ids=["a_gem", "gem"]
)
def test_a_loss_without_labels_is_protected(method: AGem | Gem) -> None:
    stream = digit_stream(2)
    learner = prepared(autoencoder(method, optimizer=Sgd(lr=0.05)), stream, encoder=Scale(maximum=16.0))
    learn_one(learner, stream)
    next(learning(learner, stream))
    memory = Batch(**method.memory.sample(20)) if isinstance(method, AGem) else method._memories[0].contents()
    assert float(stepped(learner, -reference(learner, memory)).abs().max()) < 1e-5


def test_a_memory_by_experience_holds_exactly_so_many_of_each() -> None:
    stream = digit_stream(4, data=FewDigits(per_class=9), budget=Budget(updates=2))
    method = AGem(per_experience=5, batch_size=6)
    learner = prepared(classifier(method), stream, encoder=Scale(maximum=16.0))
    sizes = []
    for _ in stream:
        learn_one(learner, stream)
        sizes.append(len(method.memory))
    assert [5, 10, 15, 20] == sizes
    assert [5, 5, 5, 5] == torch.bincount(method.memory.contents()["targets"]).tolist()
    assert len({row.numpy().tobytes() for row in method.memory.contents()["inputs"]}) == 20
    assert 20 * (64 * 4 + 8) == method.memory.bytes


def test_an_experience_that_has_fewer_is_kept_whole() -> None:
    stream = digit_stream(2)
    method = AGem(per_experience=30)
    learn_all(prepared(classifier(method), stream), stream)
    assert 2 * 26 == len(method.memory)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "expected exactly one of capacity, capacity_bytes, per_experience; got none"),
        ({"capacity": 9, "per_experience": 3}, "got capacity, per_experience"),
        ({"per_experience": 3, "fill": "minibatches"}, "fill: minibatches do not state their experience"),
    ],
)
def test_the_size_of_a_memory_is_said_once(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(Problem, match=expected):
        AGem(**settings)


@pytest.mark.parametrize("updates", [2, 5, 7])
def test_with_a_memory_by_experience_it_resumes_exactly(updates: int) -> None:
    stream = digit_stream(4, budget=Budget(updates=2))

    def new(seed: int = 0) -> Any:
        return prepared(classifier(AGem(per_experience=5)), stream, seed=seed)

    through = new()
    learn_all(through, stream)
    expected = snapshot(through)
    stopped = new()
    for _ in zip(range(updates), learning(stopped, stream), strict=False):
        pass
    state = snapshot(stopped)
    fresh = new(7)
    restore(fresh, state)
    learn_all(fresh, stream)
    assert [] == differences(expected, snapshot(fresh))
