"""Losses by hand."""

from __future__ import annotations

import math

import pytest
import torch

from rlcl.learners.reinforcement.losses import (
    clipped_surrogate,
    clipped_surrogate_gradient,
    value_loss,
    value_loss_gradient,
)


def surrogate(ratio: float, advantage: float, clip: float | None) -> tuple[float, float]:
    """The loss of one action, and its slope in the log-probability."""
    log_ratio = torch.tensor([ratio]).log().requires_grad_()
    loss = clipped_surrogate(log_ratio, torch.tensor([advantage]), clip)
    loss.backward()  # type: ignore[no-untyped-call]
    assert log_ratio.grad is not None
    return float(loss.detach()), float(log_ratio.grad)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.0, 2.0, (-2.0, -2.0)),
        (1.1, 2.0, (-2.2, -2.2)),
        (1.5, 2.0, (-2.4, 0.0)),  # good, and likely enough already
        (0.5, 2.0, (-1.0, -1.0)),  # good, and become unlikely: pulled back without bound
        (1.5, -2.0, (3.0, 3.0)),  # bad, and become likely: pushed back without bound
        (0.5, -2.0, (1.6, 0.0)),  # bad, and unlikely enough already
    ],
)
def test_a_ratio_counts_no_further_than_the_clip(ratio: float, advantage: float, expected: tuple[float, float]) -> None:
    assert pytest.approx(expected) == surrogate(ratio, advantage, 0.2)


def test_without_a_clip_it_is_the_plain_ratio() -> None:
    assert pytest.approx((-3.0, -3.0)) == surrogate(1.5, 2.0, None)


def test_it_is_a_mean() -> None:
    log_ratio, advantages = torch.tensor([1.0, 1.5]).log(), torch.tensor([1.0, 1.0])
    assert pytest.approx(-(1.0 + 1.2) / 2) == float(clipped_surrogate(log_ratio, advantages, 0.2))


def test_the_error_of_values() -> None:
    assert (1.0 + 9.0) / 2 == float(value_loss(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 2.0])))


@pytest.mark.parametrize("clip", [None, 0.2])
def test_the_gradient_of_the_surrogate_by_hand_and_by_autograd(clip: float | None) -> None:
    # Ratios 1.5 and 0.5 with advantages of either sign: the clip holds where going on would gain nothing.
    log_ratio = torch.tensor([math.log(1.5), math.log(1.5), math.log(0.5), math.log(0.5), 0.0], requires_grad=True)
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    clipped_surrogate(log_ratio, advantages, clip).backward()
    actual = clipped_surrogate_gradient(log_ratio.detach(), advantages, clip)
    by_hand = [-0.3, 0.3, -0.1, 0.1, -0.4] if clip is None else [0, 0.3, -0.1, 0, -0.4]
    assert by_hand == pytest.approx(actual.tolist())
    assert torch.allclose(log_ratio.grad, actual)  # type: ignore[arg-type]


def test_the_gradient_of_the_values_loss_by_hand() -> None:
    # (V - R)^2 / 2 rows: 2 (1 - 3) / 2 and 2 (2 - 1) / 2.
    assert [-2.0, 1.0] == value_loss_gradient(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0])).tolist()
