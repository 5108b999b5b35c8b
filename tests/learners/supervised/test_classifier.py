"""The softmax classifier."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from harness import classifier, digit_stream, learn_all, prepared

from rlcl.encoders.flatten import Flatten
from rlcl.encoders.scale import Scale
from rlcl.encoders.standardize import Standardize
from rlcl.errors import UnsupportedError
from rlcl.networks.cnn import Cnn
from rlcl.networks.mlp import Linear
from rlcl.types import Batch, Budget


def batch(task: int | None) -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = None if task is None else torch.full((6,), task)
    return Batch(torch.randn(6, 1, 8, 8, generator=generator), torch.tensor([2, 3, 2, 3, 3, 2]), ids)


def test_its_loss_is_the_mean_cross_entropy_of_all_classes() -> None:
    learner = prepared(classifier(), digit_stream())
    b = batch(None)
    log_p = learner.module(b.inputs).log_softmax(1)
    assert b.targets is not None
    expected = -sum(log_p[i, k] for i, k in enumerate(b.targets.tolist())) / 6
    torch.testing.assert_close(learner.loss(b), expected)


def test_with_task_ids_the_loss_is_that_of_one_head_a_task() -> None:
    learner = prepared(classifier(network=Linear()), digit_stream(2, task_ids=True))
    b = batch(1)
    head = learner.module[1]
    logits = F.linear(b.inputs.flatten(1), head.weight[2:], head.bias[2:])
    assert b.targets is not None
    torch.testing.assert_close(learner.loss(b), F.cross_entropy(logits, b.targets - 2))


def test_with_task_ids_the_gradient_of_other_tasks_outputs_is_zero() -> None:
    learner = prepared(classifier(network=Linear()), digit_stream(2, task_ids=True))
    learner.loss(batch(1)).backward()
    gradient = learner.module[1].weight.grad
    assert torch.equal(torch.zeros(2, 64), gradient[:2])
    assert bool((gradient[2:].abs().sum(1) > 0).all())


def test_with_task_ids_its_gradients_equal_those_of_a_head_a_task() -> None:
    learner = prepared(classifier(), digit_stream(2, task_ids=True))
    b = batch(1)
    names = dict(learner.module.named_parameters())
    masked = torch.autograd.grad(learner.loss(b), list(names.values()))
    features = learner.module[:-1](b.inputs)
    head = learner.module[-1]
    assert b.targets is not None
    loss = F.cross_entropy(F.linear(features, head.weight[2:], head.bias[2:]), b.targets - 2)
    for expected, actual in zip(torch.autograd.grad(loss, list(names.values())), masked, strict=True):
        torch.testing.assert_close(actual, expected)


def test_a_batch_of_several_tasks_is_masked_row_by_row() -> None:
    learner = prepared(classifier(), digit_stream(2, task_ids=True))
    outputs = learner.outputs(torch.zeros(3, 1, 8, 8), torch.tensor([1, 0, 1]))
    possible = outputs > -1e8
    assert [[False, False, True, True], [True, True, False, False], [False, False, True, True]] == possible.tolist()


@pytest.mark.parametrize("task", [0, 1])
def test_with_a_task_id_only_its_classes_are_predicted(task: int) -> None:
    learner = prepared(classifier(), digit_stream(2, task_ids=True))
    x = 100 * torch.randn(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    predicted, state = learner.predict(x, task)
    assert {2 * task, 2 * task + 1} == set(predicted.tolist())
    assert state is None


def test_many_rows_are_predicted_in_parts_as_they_would_be_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import rlcl.learners.gradient

    learner = prepared(classifier(), digit_stream())
    x = torch.randn(23, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    at_once, _ = learner.predict(x)
    monkeypatch.setattr(rlcl.learners.gradient, "ROWS_AT_ONCE", 7)
    assert torch.equal(at_once, learner.predict(x)[0])


def test_it_learns_the_digits() -> None:
    stream = digit_stream(1, budget=Budget(epochs=10))
    learner = prepared(classifier(), stream, encoder=Standardize())
    learn_all(learner, stream)
    x, y = stream[0].test.read()  # type: ignore[union-attr]
    assert float((learner.predict(x)[0] == y).float().mean()) >= 0.9


def test_a_cnn_behind_a_flatten_encoder_is_refused_with_the_remedy() -> None:
    with pytest.raises(UnsupportedError, match="leave out the flatten encoder"):
        prepared(classifier(network=Cnn()), digit_stream(), encoder=Flatten())


def test_a_cnn_learns_images() -> None:
    stream = digit_stream(1, budget=Budget(epochs=10))
    learner = prepared(classifier(network=Cnn(channels=(8,), hidden=(16,))), stream, encoder=Scale())
    learn_all(learner, stream)
    x, y = stream[0].test.read()  # type: ignore[union-attr]
    assert float((learner.predict(x)[0] == y).float().mean()) >= 0.9
