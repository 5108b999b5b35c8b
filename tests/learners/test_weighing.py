"""Losses that weigh examples one by one, and pull outputs to stored ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from harness import autoencoder, classifier, digit_stream, prepared
from torch import Tensor

from rlcl.data.readers.scikit import Diabetes
from rlcl.learners.supervised.regressor import Regressor
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.data_incremental import DataIncremental
from rlcl.types import Batch, Budget

WEIGHTS = torch.tensor([0.0, 1.0, 2.5])


def regressor() -> Any:
    stream = DataIncremental(data=Diabetes(), experiences=4).make(Seeds(0), Budget(epochs=1))
    return prepared(Regressor(network=Mlp(hidden=(8,))), stream)


CASES: dict[str, tuple[Callable[[], Any], Callable[[], Batch]]] = {
    "classifier": (
        lambda: prepared(classifier(), digit_stream(2)),
        lambda: Batch(torch.rand(3, 1, 8, 8), torch.tensor([0, 3, 1])),
    ),
    "classifier class weights": (
        lambda: _balanced(prepared(classifier(class_weights=(1.0, 2.0, 3.0, 4.0)), digit_stream(2))),
        lambda: Batch(torch.rand(3, 1, 8, 8), torch.tensor([0, 3, 1])),
    ),
    "autoencoder": (lambda: prepared(autoencoder(), digit_stream(2)), lambda: Batch(torch.rand(3, 1, 8, 8))),
    "regressor": (regressor, lambda: Batch(torch.rand(3, 10), torch.rand(3, 1))),
}


def _balanced(learner: Any) -> Any:
    experience = learner._setup.stream[0]
    learner.targets(experience, experience.train.targets)
    return learner


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Any, Batch]:
    make, batch = CASES[request.param]
    return make(), batch()


def test_the_losses_of_examples_have_the_mean_that_is_descended(case: tuple[Any, Batch]) -> None:
    learner, batch = case
    losses: Tensor = learner.losses(batch)
    assert (3,) == losses.shape
    torch.testing.assert_close(losses.mean(), learner.loss(batch))


def test_each_loss_counts_by_its_weight(case: tuple[Any, Batch]) -> None:
    learner, batch = case
    losses = learner.losses(batch)
    torch.testing.assert_close(learner.loss(batch._replace(weights=WEIGHTS)), (losses[1] + 2.5 * losses[2]) / 3)


def test_each_output_is_pulled_by_its_weight(case: tuple[Any, Batch]) -> None:
    learner, batch = case
    outputs = learner.outputs(batch.inputs)
    stored = outputs.detach() + torch.tensor([[7.0], [2.0], [4.0]])  # squared distances 49, 4 and 16
    found = learner.loss(batch._replace(outputs=stored, distillation_weights=WEIGHTS)) - learner.loss(batch)
    torch.testing.assert_close(found, torch.tensor((0 * 49 + 4 + 2.5 * 16) / 3), rtol=1e-3, atol=1e-3)


def test_it_says_so(case: tuple[Any, Batch]) -> None:
    assert "weights" in case[0].host.provides
