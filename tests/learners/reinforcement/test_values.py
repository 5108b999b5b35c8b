"""Targets and losses of action values, by hand."""

from __future__ import annotations

import pytest
import torch

from rlcl.learners.reinforcement.values import (
    bootstrapped,
    chosen,
    dueling_gradient,
    dueling_values,
    following_values,
    huber_gradient,
    huber_loss,
    spread,
    twin_gradient,
    twin_loss,
)


def test_dueling_values_by_hand() -> None:
    # Advantages 1 and 3, of mean 2, around the value 10.
    assert [[9.0, 11.0]] == dueling_values(torch.tensor([[10.0, 1.0, 3.0]])).tolist()


def test_the_values_of_chosen_actions() -> None:
    assert [2.0, 3.0] == chosen(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0])).tolist()


def test_the_target_network_values_the_action_that_is_best_by_its_own_or_by_the_others_values() -> None:
    values = torch.tensor([[1.0, 5.0], [4.0, 2.0]])
    online = torch.tensor([[9.0, 0.0], [9.0, 0.0]])
    assert [5.0, 4.0] == following_values(values).tolist()
    assert [1.0, 4.0] == following_values(values, online).tolist()


def test_targets_by_hand() -> None:
    found = bootstrapped(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.5, 0.25, 0.0]), torch.tensor([8.0, 8.0, 8.0]))
    assert [5.0, 3.0, 1.0] == found.tolist()


def test_huber_loss_by_hand() -> None:
    predicted, wanted = torch.tensor([0.5, 3.0]), torch.zeros(2)
    assert (0.125 + 2.5) / 2 == float(huber_loss(predicted, wanted))
    assert (4 * 0.125 + 2.5) / 2 == float(huber_loss(predicted, wanted, torch.tensor([4.0, 1.0])))


def test_twin_loss_by_hand() -> None:
    predicted, wanted = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([0.0, 1.0])
    # (1 + 1) / 2 for the first, (9 + 1) / 2 for the second.
    assert float(twin_loss(predicted, wanted)) == pytest.approx(6.0)
    assert float(twin_loss(predicted, wanted, torch.tensor([0.5, 1.0]))) == pytest.approx((0.5 + 1 + 4.5 + 1) / 2)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_the_losses_are_autograds(weighted: bool) -> None:
    torch.manual_seed(0)
    wanted, weights = torch.randn(6), torch.rand(6) if weighted else None
    predicted, both = 3 * torch.randn(6), 3 * torch.randn(2, 6)
    for loss, gradient, given in ((huber_loss, huber_gradient, predicted), (twin_loss, twin_gradient, both)):
        of = given.clone().requires_grad_()
        loss(of, wanted, weights).backward()
        assert torch.allclose(of.grad, gradient(of.detach(), wanted, weights), atol=1e-6)  # type: ignore[arg-type]


def test_the_gradient_of_dueling_values_is_autograds() -> None:
    torch.manual_seed(0)
    outputs, actions, by_chosen = torch.randn(5, 4, requires_grad=True), torch.tensor([0, 2, 1, 1, 0]), torch.randn(5)
    chosen(dueling_values(outputs), actions).backward(by_chosen)
    assert torch.allclose(outputs.grad, dueling_gradient(spread(by_chosen, actions, 3)), atol=1e-6)  # type: ignore[arg-type]
