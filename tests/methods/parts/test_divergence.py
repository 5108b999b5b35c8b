"""Divergences of policies, by hand and by torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal
from torch.distributions import kl_divergence as reference

from rlcl.methods.parts.divergence import kl_divergence


def outputs(seed: int, width: int = 6) -> Tensor:
    return torch.randn(5, width, generator=torch.Generator().manual_seed(seed))


def test_the_divergence_of_two_choices_by_hand() -> None:
    stored, current = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3), 0.0]])  # 1/2, 1/2 and 3/4, 1/4
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert pytest.approx(expected, rel=1e-6) == float(kl_divergence(stored, current, "categorical"))


def test_the_divergence_of_two_gaussians_by_hand() -> None:
    # KL(N(1, 2) || N(0, 1)) = log(1 / 2) + (4 + 1) / 2 - 1 / 2.
    stored, current = torch.tensor([[1.0, math.log(2)]]), torch.tensor([[0.0, 0.0]])
    assert pytest.approx(2 - math.log(2), rel=1e-6) == float(kl_divergence(stored, current, "gaussian"))


def test_categorical_policies() -> None:
    a, b = outputs(0), outputs(1)
    expected = reference(Categorical(logits=a), Categorical(logits=b))
    torch.testing.assert_close(kl_divergence(a, b, "categorical"), expected)


def test_several_choices_are_summed() -> None:
    a, b = outputs(0), outputs(1)
    expected = sum(kl_divergence(a[:, part], b[:, part], "categorical") for part in (slice(0, 2), slice(2, 6)))
    torch.testing.assert_close(kl_divergence(a, b, "multi_categorical", (2, 4)), expected)


def test_gaussian_policies() -> None:
    a, b = outputs(0), outputs(1)

    def policy(y: Tensor) -> Independent:
        mean, log_std = y.chunk(2, 1)
        return Independent(Normal(mean, log_std.exp()), 1)

    torch.testing.assert_close(kl_divergence(a, b, "gaussian"), reference(policy(a), policy(b)))


def test_an_impossible_choice_adds_nothing() -> None:
    stored, current = torch.tensor([[0.0, 0.0, -1e9]]), torch.tensor([[0.5, 0.0, -1e9]])
    expected = kl_divergence(stored[:, :2], current[:, :2], "categorical")
    torch.testing.assert_close(kl_divergence(stored, current, "categorical"), expected)
