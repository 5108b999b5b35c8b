"""Maximally interfered retrieval: what is chosen, and that nothing is left changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from harness import classifier, differences, digit_stream, learning, prepared, weights

from rlcl.encoders.scale import Scale
from rlcl.learners.optimizers import Sgd
from rlcl.learners.unsupervised.vae import Vae
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.methods.mir import Mir
from rlcl.networks.mlp import Mlp
from rlcl.types import Batch, Budget


def after(method: Mir, updates: int, **settings: Any) -> Any:
    stream = digit_stream(2, budget=Budget(updates=6))
    learner = prepared(classifier(method, optimizer=Sgd(lr=0.3), **settings), stream, encoder=Scale(maximum=16.0))
    for _ in zip(range(updates), learning(learner, stream), strict=False):
        pass
    return learner


def test_it_rehearses_what_a_step_on_the_minibatch_would_harm_most(monkeypatch: pytest.MonkeyPatch) -> None:
    method = Mir(capacity=40, batch_size=4, candidates=15)
    learner = after(method, 8)
    candidates: list[dict[str, torch.Tensor]] = []
    sample = ReservoirMemory.sample

    def noting(self: ReservoirMemory, count: int) -> dict[str, torch.Tensor]:
        candidates.append(sample(self, count))
        return candidates[-1]

    monkeypatch.setattr(ReservoirMemory, "sample", noting)
    chosen = method.extra(learner.batch)
    (drawn,) = candidates
    assert len(drawn["inputs"]) == 15

    def each(module: torch.nn.Module) -> torch.Tensor:
        return F.cross_entropy(module(drawn["inputs"]), drawn["targets"], reduction="none")

    tried = copy.deepcopy(learner.module)
    loss = F.cross_entropy(tried(learner.batch.inputs), learner.batch.targets)
    gradients = torch.autograd.grad(loss, list(tried.parameters()))
    with torch.no_grad():
        for p, g in zip(tried.parameters(), gradients, strict=True):
            p.sub_(0.3 * g)
        rise = each(tried) - each(learner.module)
    assert chosen is not None
    expected = drawn["inputs"][rise.argsort(descending=True)[:4]]
    torch.testing.assert_close(chosen.inputs, expected)


def test_the_loss_is_the_sum_of_two_means() -> None:
    method = Mir(capacity=40, batch_size=4, candidates=15)
    learner = after(method, 8)
    joined = learner._attached.extra(learner.batch)
    with torch.no_grad():
        losses = F.cross_entropy(learner.module(joined.inputs), joined.targets, reduction="none")
        torch.testing.assert_close(learner.loss(joined), losses[:-4].mean() + losses[-4:].mean())


def test_trying_leaves_weights_statistics_and_generators_alone() -> None:
    method = Mir(capacity=40, batch_size=4, candidates=15)
    learner = after(method, 8, network=Mlp(hidden=(16,), dropout=0.5))
    before, state = weights(learner), torch.get_rng_state()
    method.extra(learner.batch)
    assert [] == differences(before, weights(learner))
    assert torch.equal(state, torch.get_rng_state())
    assert learner.module.training


def test_few_candidates_are_all_rehearsed() -> None:
    method = Mir(capacity=40, batch_size=9, candidates=5)
    learner = after(method, 3)
    extra = method.extra(learner.batch)
    assert isinstance(extra, Batch)
    assert 5 == len(extra.inputs)


def test_a_vae_compares_bounds_with_the_same_codes_and_draws_none_of_its_own() -> None:
    stream, method = digit_stream(2, budget=Budget(updates=6)), Mir(capacity=40, batch_size=4, candidates=15)
    learner = Vae(network=Mlp(hidden=(8,)), decoder=Mlp(hidden=(8,)), code=3, batch_size=8, methods=(method,))
    prepared(learner, stream, encoder=Scale(maximum=16.0))
    for _ in zip(range(8), learning(learner, stream), strict=False):
        pass
    before, state = weights(learner), torch.get_rng_state()
    extra = method.extra(learner.batch)  # type: ignore[arg-type]
    assert extra is not None
    assert 4 == len(extra.inputs)
    assert [] == differences(before, weights(learner))
    assert torch.equal(state, torch.get_rng_state())
