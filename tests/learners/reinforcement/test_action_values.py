"""Action values and their targets, computed by hand."""

from __future__ import annotations

import torch

from rlcl.learners.reinforcement.action_values import (
    bootstrapped_targets,
    chosen_values,
    chosen_values_gradient,
    dueling_gradient,
    dueling_values,
    next_state_values,
)


def test_dueling_values_by_hand() -> None:
    # Advantages 1 and 3, of mean 2, around the value 10.
    assert [[9.0, 11.0]] == dueling_values(torch.tensor([[10.0, 1.0, 3.0]])).tolist()


def test_the_values_of_chosen_actions() -> None:
    assert [2.0, 3.0] == chosen_values(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0])).tolist()


def test_the_target_network_values_the_action_that_is_best_by_its_own_or_by_the_others_values() -> None:
    values = torch.tensor([[1.0, 5.0], [4.0, 2.0]])
    online = torch.tensor([[9.0, 0.0], [9.0, 0.0]])
    assert [5.0, 4.0] == next_state_values(values).tolist()
    assert [1.0, 4.0] == next_state_values(values, online).tolist()


def test_targets_by_hand() -> None:
    found = bootstrapped_targets(
        torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.5, 0.25, 0.0]), torch.tensor([8.0, 8.0, 8.0])
    )
    assert [5.0, 3.0, 1.0] == found.tolist()


def test_the_gradient_of_dueling_values_is_autograds() -> None:
    torch.manual_seed(0)
    outputs, actions, by_chosen = torch.randn(5, 4, requires_grad=True), torch.tensor([0, 2, 1, 1, 0]), torch.randn(5)
    chosen_values(dueling_values(outputs), actions).backward(by_chosen)
    assert torch.allclose(outputs.grad, dueling_gradient(chosen_values_gradient(by_chosen, actions, 3)), atol=1e-6)  # type: ignore[arg-type]
