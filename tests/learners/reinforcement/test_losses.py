"""Losses by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rlcl.learners.reinforcement import losses
from rlcl.learners.reinforcement.losses import (
    clipped_surrogate,
    clipped_surrogate_gradient,
    deterministic_policy_loss,
    deterministic_policy_loss_gradient,
    huber_loss,
    huber_loss_gradient,
    ppo_loss,
    ppo_loss_gradient,
    soft_policy_loss,
    soft_policy_loss_gradient,
    temperature_loss,
    temperature_loss_gradient,
    twin_loss,
    twin_loss_gradient,
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


def test_huber_loss_by_hand() -> None:
    predicted, targets = torch.tensor([0.5, 3.0]), torch.zeros(2)
    assert (0.125 + 2.5) / 2 == float(huber_loss(predicted, targets))
    assert (4 * 0.125 + 2.5) / 2 == float(huber_loss(predicted, targets, torch.tensor([4.0, 1.0])))


def test_twin_loss_by_hand() -> None:
    predicted, targets = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([0.0, 1.0])
    # (1 + 1) / 2 for the first, (9 + 1) / 2 for the second.
    assert float(twin_loss(predicted, targets)) == pytest.approx(6.0)
    assert float(twin_loss(predicted, targets, torch.tensor([0.5, 1.0]))) == pytest.approx((0.5 + 1 + 4.5 + 1) / 2)


def test_what_ppo_descends_by_hand() -> None:
    ratios, advantages = torch.tensor([1.1, 1.5]).log(), torch.tensor([2.0, 2.0])
    found = ppo_loss(
        ratios, advantages, 0.2, torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0]), torch.tensor(0.5), 0.25, 0.1
    )
    # Surrogate -(2.2 + 2.4) / 2, squared error (4 + 1) / 2, entropy 0.5.
    assert pytest.approx((-2.3, 2.5, 0.5)) == tuple(map(float, found[1:]))
    assert pytest.approx(-2.3 + 0.25 * 2.5 - 0.1 * 0.5) == float(found.loss)


def test_what_the_actors_descend_by_hand() -> None:
    values, log_probs = torch.tensor([[1.0, 5.0], [2.0, 4.0]]), torch.tensor([-1.0, -3.0])
    assert pytest.approx((0.5 * (-1 - 3) - (1 + 4)) / 2) == float(
        soft_policy_loss(log_probs, values, torch.tensor(0.5))
    )
    assert pytest.approx(-3.0) == float(deterministic_policy_loss(values[0]))
    # Log-densities of mean -2 are entropy 2, one nat above the target entropy: the temperature falls.
    assert pytest.approx(0.7 * (2 - 1)) == float(temperature_loss(torch.tensor(0.7), log_probs, 1.0))
    assert temperature_loss_gradient(log_probs, 1.0) > 0


Pair = tuple[Callable[..., Tensor], Callable[..., Any], list[Tensor]]  # of what is derived by: a loss, its gradient


def pairs() -> dict[str, Pair]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return 3 * torch.randn(shape, generator=draw)

    x, other, weights, both, scalar = normal(6), normal(6), normal(6).abs(), normal(2, 6), normal()
    return {
        "clipped_surrogate": (
            lambda a: clipped_surrogate(a, other, 0.2),
            lambda a: clipped_surrogate_gradient(a, other, 0.2),
            [x / 9],
        ),
        "plain_surrogate": (
            lambda a: clipped_surrogate(a, other, None),
            lambda a: clipped_surrogate_gradient(a, other, None),
            [x / 9],
        ),
        "value_loss": (lambda a: value_loss(a, other), lambda a: value_loss_gradient(a, other), [x]),
        "ppo_loss": (
            lambda ratio, values, entropy: ppo_loss(ratio, other, 0.2, values, weights, entropy, 0.7, 0.3).loss,
            lambda ratio, values, _: ppo_loss_gradient(ratio, other, 0.2, values, weights, 0.7, 0.3),
            [x / 9, normal(6), scalar],
        ),
        "huber_loss": (lambda a: huber_loss(a, other), lambda a: huber_loss_gradient(a, other), [x]),
        "weighed huber_loss": (
            lambda a: huber_loss(a, other, weights),
            lambda a: huber_loss_gradient(a, other, weights),
            [x],
        ),
        "twin_loss": (lambda a: twin_loss(a, other), lambda a: twin_loss_gradient(a, other), [both]),
        "weighed twin_loss": (
            lambda a: twin_loss(a, other, weights),
            lambda a: twin_loss_gradient(a, other, weights),
            [both],
        ),
        "soft_policy_loss": (
            lambda a, b: soft_policy_loss(a, b, scalar.abs()),
            lambda _, b: soft_policy_loss_gradient(b, scalar.abs()),
            [x, both],
        ),
        "temperature_loss": (
            lambda a: temperature_loss(a, other, -2.0),
            lambda _: temperature_loss_gradient(other, -2.0),
            [scalar],
        ),
        "deterministic_policy_loss": (deterministic_policy_loss, deterministic_policy_loss_gradient, [x]),
    }


@pytest.mark.parametrize("name", pairs())
def test_each_gradient_is_that_of_its_loss_by_autograd(name: str) -> None:
    loss, gradient, given = pairs()[name]
    inputs = [tensor.clone().requires_grad_() for tensor in given]
    expected = torch.autograd.grad(loss(*inputs), inputs)
    found = gradient(*given)
    for one, other in zip(expected, found if isinstance(found, tuple) else (found,), strict=True):
        torch.testing.assert_close(one, torch.as_tensor(other).expand_as(one))


def test_every_loss_has_a_gradient_that_is_held_to_it() -> None:
    names = {name for name in losses.__all__ if name.endswith("_gradient")}
    assert names == {f"{name}_gradient" for name in pairs() if f"{name}_gradient" in losses.__all__}
    assert {name for name in losses.__all__ if name[0].islower()} == names | {
        n.removesuffix("_gradient") for n in names
    }
