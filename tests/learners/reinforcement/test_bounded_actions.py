"""Bounded actions: scaling to the bounds, and the density and gradient of squashed normal distributions."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlcl.errors import UnsupportedError
from rlcl.learners.reinforcement.bounded_actions import (
    BoundedActions,
    bounded_actions,
    squashed_gaussian,
    squashed_gaussian_gradient,
)


def test_actions_are_stretched_to_the_bounds() -> None:
    actions = BoundedActions(np.array([[-1.0, 0.0]], np.float32), np.array([[3.0, 10.0]], np.float32))
    found = actions.for_environment(np.array([[-1.0, -1.0], [0.0, 0.5], [1.0, 1.0]], np.float32))
    assert [[[-1.0, 0.0]], [[1.0, 7.5]], [[3.0, 10.0]]] == found.tolist()
    assert actions.dims == 2


def test_random_actions_fill_the_range() -> None:
    found = BoundedActions(np.zeros(3, np.float32), np.ones(3, np.float32)).random(4000, np.random.default_rng(0))
    assert found.dtype == np.float32
    assert (4000, 3) == found.shape
    assert np.allclose(0, found.mean(0), atol=0.05)
    assert np.allclose(1 / 3, found.var(0), atol=0.02)
    assert -1 <= found.min() < -0.99 < 0.99 < found.max() < 1


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gym.spaces.Discrete(3), "needs a continuous action space .*use dqn or ppo"),
        (gym.spaces.Box(-np.inf, np.inf, (2,)), "needs an action space with finite bounds, .*RescaleAction"),
        (gym.spaces.Box(0, 9, (2,), np.int64), "needs a Box of floats .* got integers: .*wrap .* that rounds"),
    ],
)
def test_other_spaces_are_refused(space: gym.Space, message: str) -> None:
    with pytest.raises(UnsupportedError, match=f"learner sac .*{message}"):
        bounded_actions(space, "sac")


def test_a_squashed_density_by_hand() -> None:
    # u = 0 + 1 * 0: the normal density 1 / sqrt(2 pi), over 1 - tanh(0)^2 = 1.
    action, log_prob, _ = squashed_gaussian(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1))
    assert [[0.0]] == action.tolist()
    assert float(log_prob) == pytest.approx(-0.5 * math.log(2 * math.pi))
    # u = 1 + 2 * 0.5 = 2, in both of two dimensions.
    action, log_prob, _ = squashed_gaussian(torch.ones(1, 2), torch.full((1, 2), math.log(2)), torch.full((1, 2), 0.5))
    assert action[0].tolist() == pytest.approx([math.tanh(2)] * 2)
    normal = math.exp(-0.125) / (2 * math.sqrt(2 * math.pi))
    assert float(log_prob) == pytest.approx(2 * math.log(normal / (1 - math.tanh(2) ** 2)), abs=1e-5)


def test_a_squashed_density_integrates_to_one() -> None:
    noise = torch.linspace(-8, 8, 4001)[:, None]
    actions, log_probs, _ = squashed_gaussian(torch.full_like(noise, 0.3), torch.full_like(noise, -0.5), noise)
    assert float(torch.trapezoid(log_probs.exp(), actions[:, 0])) == pytest.approx(1, abs=1e-3)


def test_far_out_it_stays_finite_with_a_gradient() -> None:
    mean = torch.tensor([[60.0], [-60.0]], requires_grad=True)
    _, log_probs, _ = squashed_gaussian(mean, torch.zeros(2, 1), torch.zeros(2, 1))
    # 1 - tanh(u)^2 is 4 exp(-2 |u|) there.
    assert log_probs.tolist() == pytest.approx([120 - math.log(4) - 0.5 * math.log(2 * math.pi)] * 2)
    log_probs.sum().backward()
    assert mean.grad is not None
    assert mean.grad.flatten().tolist() == pytest.approx([2.0, -2.0])


def test_the_gradient_of_a_squashed_density_is_autograds() -> None:
    torch.manual_seed(0)
    mean, log_std = torch.randn(5, 2, requires_grad=True), torch.randn(5, 2, requires_grad=True)
    noise, by_actions, by_log_prob = torch.randn(5, 2), torch.randn(5, 2), torch.randn(5)
    actions, log_probs, scaled_noise = squashed_gaussian(mean, log_std, noise)
    ((actions * by_actions).sum() + (log_probs * by_log_prob).sum()).backward()
    by_mean, by_log_std = squashed_gaussian_gradient(by_actions, by_log_prob, actions.detach(), scaled_noise.detach())
    assert torch.allclose(mean.grad, by_mean, atol=1e-5)  # type: ignore[arg-type]
    assert torch.allclose(log_std.grad, by_log_std, atol=1e-5)  # type: ignore[arg-type]
