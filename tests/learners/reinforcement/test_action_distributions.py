"""Distributions over actions: equal to torch's, and drawn from as they say."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, Normal

from rlcl.errors import UnsupportedError
from rlcl.learners.reinforcement.action_distributions import (
    Categorical,
    Gaussian,
    MultiCategorical,
    distribution_over,
    free_parameters,
    mask_array,
    mask_tensor,
)

NONE = torch.empty(0)
BOX = gym.spaces.Box(np.array([-1, -2], np.float32), np.array([1, 2], np.float32))


def logits(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * 2


def test_categorical_equals_torchs() -> None:
    outputs, actions = logits(6, 4), torch.tensor([0, 1, 2, 3, 0, 3])
    expected, ours = TorchCategorical(logits=outputs), Categorical(4)
    torch.testing.assert_close(expected.log_prob(actions), ours.log_prob(outputs, NONE, actions))
    torch.testing.assert_close(expected.entropy(), ours.entropy(outputs, NONE))


def test_categorical_by_hand() -> None:
    outputs = torch.tensor([[0.0, np.log(3.0)]])  # 1/4 and 3/4
    assert pytest.approx(np.log(0.75)) == float(Categorical(2).log_prob(outputs, NONE, torch.tensor([1])))
    expected = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert pytest.approx(expected) == float(Categorical(2).entropy(outputs, NONE))


def test_several_choices_equal_torchs_independent_ones() -> None:
    outputs, actions = logits(5, 5), torch.tensor([[0, 0], [1, 1], [0, 2], [1, 0], [0, 1]])
    ours = MultiCategorical((2, 3), (0, 0))
    parts = [TorchCategorical(logits=outputs[:, :2]), TorchCategorical(logits=outputs[:, 2:])]
    expected = sum(p.log_prob(a) for p, a in zip(parts, actions.T, strict=True))
    torch.testing.assert_close(expected, ours.log_prob(outputs, NONE, actions))
    torch.testing.assert_close(parts[0].entropy() + parts[1].entropy(), ours.entropy(outputs, NONE))
    assert outputs[:, :2].argmax(1).tolist() == ours.mode(outputs.numpy())[:, 0].tolist()
    assert outputs[:, 2:].argmax(1).tolist() == ours.mode(outputs.numpy())[:, 1].tolist()


def test_gaussian_equals_torchs() -> None:
    means, log_std, actions = logits(6, 2), torch.tensor([-0.5, 0.3]), logits(6, 2) + 0.7
    expected, ours = Independent(Normal(means, log_std.exp()), 1), Gaussian(BOX.low, BOX.high)
    torch.testing.assert_close(expected.log_prob(actions), ours.log_prob(means, log_std, actions))
    torch.testing.assert_close(expected.entropy(), ours.entropy(means, log_std).expand(6))
    assert [*means[0].tolist(), *log_std.tolist()] == ours.as_outputs(means, log_std)[0].tolist()


def frequencies(drawn: np.ndarray[Any, Any], n: int) -> np.ndarray[Any, Any]:
    return np.bincount(drawn, minlength=n)


def chi_square(counts: np.ndarray[Any, Any], logits: np.ndarray[Any, Any]) -> float:
    expected = np.exp(logits) / np.exp(logits).sum() * counts.sum()
    return float((np.square(counts - expected) / expected).sum())


def test_draws_of_a_categorical_follow_it() -> None:
    row = np.array([0.0, 1.0, -1.0, 2.0], np.float32)
    drawn = Categorical(4).sample(np.tile(row, (20_000, 1)), np.empty(0), np.random.default_rng(0))
    assert chi_square(frequencies(drawn, 4), row) < 16.3  # the 0.999 quantile at three degrees of freedom


def test_draws_of_several_choices_follow_each() -> None:
    row = np.array([0.0, 1.0, 0.0, -1.0, 1.0], np.float32)
    drawn = MultiCategorical((2, 3), (0, 0)).sample(np.tile(row, (20_000, 1)), np.empty(0), np.random.default_rng(0))
    assert chi_square(frequencies(drawn[:, 0], 2), row[:2]) < 10.8  # one degree of freedom
    assert chi_square(frequencies(drawn[:, 1], 3), row[2:]) < 13.8  # two
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.03


def test_draws_of_a_gaussian_follow_it() -> None:
    means, log_std = np.tile(np.array([1.0, -2.0], np.float32), (40_000, 1)), np.log(np.array([0.5, 2.0], np.float32))
    drawn = Gaussian(BOX.low, BOX.high).sample(means, log_std, np.random.default_rng(0))
    assert np.float32 == drawn.dtype
    assert np.allclose([1.0, -2.0], drawn.mean(0), atol=0.04)
    assert np.allclose([0.5, 2.0], drawn.std(0), atol=0.04)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.02


def test_the_environment_is_given_actions_of_its_own_space() -> None:
    assert [5, 7] == Categorical(3, start=5).for_environment(np.array([0, 2])).tolist()
    several = distribution_over(gym.spaces.MultiDiscrete([2, 3], start=[1, -1]))
    assert [[1, 1], [2, -1]] == several.for_environment(np.array([[0, 2], [1, 0]])).tolist()
    cut = Gaussian(BOX.low, BOX.high).for_environment(np.array([[3.0, 1.5], [0.5, -9.0]], np.float32))
    assert [[1.0, 1.5], [0.5, -2.0]] == cut.tolist()
    square = gym.spaces.Box(-1, 1, (2, 2))
    shaped = distribution_over(square).for_environment(np.zeros((3, 4), np.float32))
    assert (3, 2, 2) == shaped.shape


def test_the_family_of_a_space() -> None:
    assert Categorical(3, 2) == distribution_over(gym.spaces.Discrete(3, start=2))
    assert MultiCategorical((2, 3), (0, 0)) == distribution_over(gym.spaces.MultiDiscrete([2, 3]))
    assert MultiCategorical((2, 2), (0, 0)) == distribution_over(gym.spaces.MultiBinary(2))
    continuous = distribution_over(BOX)
    assert (2, 2, "gaussian") == (continuous.outputs, continuous.free, continuous.kind)


def test_only_what_needs_free_parameters_gets_them() -> None:
    assert free_parameters(Categorical(2), 0.0) is None
    free = free_parameters(distribution_over(BOX), -1.0)
    assert free is not None
    assert [-1.0, -1.0] == free.tolist()


@pytest.mark.parametrize("space", [gym.spaces.Dict(a=BOX), gym.spaces.Box(0, 9, (1,), np.int64)])
def test_other_spaces_are_refused(space: gym.Space[Any]) -> None:
    with pytest.raises(UnsupportedError, match=r"no distribution over actions of .*; expected Discrete"):
        distribution_over(space)


def test_what_is_forbidden_has_no_probability_and_no_nan() -> None:
    outputs, masks = logits(2, 3), torch.tensor([[True, False, True], [False, True, False]])
    ours = mask_tensor(outputs, masks)
    torch.testing.assert_close(ours.numpy(), mask_array(outputs.numpy(), masks.numpy()))
    probabilities = ours.softmax(1)
    assert [[False, True, False], [True, False, True]] == (probabilities == 0).tolist()
    of_two = TorchCategorical(logits=outputs[0, [0, 2]]).entropy()
    torch.testing.assert_close(torch.stack([of_two, torch.tensor(0.0)]), Categorical(3).entropy(ours, NONE))
    assert outputs is mask_tensor(outputs, None)


@pytest.mark.parametrize(
    ("space", "actions"),
    [
        (gym.spaces.Discrete(3), torch.tensor([0, 2, 1, 1])),
        (gym.spaces.MultiDiscrete([2, 3]), torch.tensor([[0, 2], [1, 1], [1, 0], [0, 0]])),
        (gym.spaces.Box(-1, 1, (2,)), torch.tensor([[0.3, -2.0], [1.0, 0.0], [-0.5, 0.5], [0.1, 0.2]])),
    ],
)
@pytest.mark.parametrize("by_entropy", [0.0, -0.3])
def test_gradients_are_autograds(space: gym.Space[Any], actions: torch.Tensor, by_entropy: float) -> None:
    torch.manual_seed(0)
    distribution = distribution_over(space)
    outputs, free = torch.randn(4, distribution.outputs, requires_grad=True), torch.randn(distribution.free)
    free.requires_grad_()
    by_log_prob = torch.randn(4)
    loss = (distribution.log_prob(outputs, free, actions) * by_log_prob).sum()
    (loss + by_entropy * distribution.entropy(outputs, free).mean()).backward()
    by_outputs, by_free = distribution.gradient(outputs.detach(), free.detach(), actions, by_log_prob, by_entropy)
    assert torch.allclose(outputs.grad, by_outputs, atol=1e-6)  # type: ignore[arg-type]
    if distribution.free:
        assert torch.allclose(free.grad, by_free, atol=1e-6)  # type: ignore[arg-type]


def test_actions_that_are_not_allowed_have_no_gradient() -> None:
    outputs = mask_tensor(torch.randn(2, 3), torch.tensor([[True, False, True], [True, True, False]]))
    by_outputs, _ = Categorical(3).gradient(outputs, torch.empty(0), torch.tensor([2, 0]), torch.ones(2), 0.5)
    assert [0.0, 0.0] == [float(by_outputs[0, 1]), float(by_outputs[1, 2])]
    assert torch.isfinite(by_outputs).all()
