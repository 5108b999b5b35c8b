"""V-trace, by hand and against the advantages of an on-policy rollout."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rlcl.learners.reinforcement.returns import generalized_advantages
from rlcl.methods.parts.vtrace import v_trace

GAMMA = 0.5


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def flags(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.bool)[:, None]


def test_two_steps_by_hand() -> None:
    # Ratios 2 (clipped to 1) and 1/2. V = 1, 2; the value after the last step is 4.
    # delta_0 = 1 (1 + .5 * 2 - 1) = 1; delta_1 = .5 (3 + .5 * 4 - 2) = 1.5
    # v_1 = 2 + 1.5 = 3.5; v_0 = 1 + 1 + .5 * 1 * 1.5 = 2.75
    # A_0 = 1 (1 + .5 * 3.5 - 1) = 1.75; A_1 = .5 (3 + .5 * 4 - 2) = 1.5
    found = v_trace(
        column(1, 3),
        column(1, 2),
        column(2, 4),
        flags(0, 0),
        flags(0, 0),
        column(math.log(2), math.log(0.5)),
        GAMMA,
    )
    torch.testing.assert_close(found.values, column(2.75, 3.5))
    torch.testing.assert_close(found.advantages, column(1.75, 1.5))


def test_the_two_bounds_act_on_different_weights() -> None:
    # rho-bar 2, c-bar 1 and ratios of 4: deltas are doubled, traces are not.
    # delta_0 = 2 (1 + 1 - 1) = 2; delta_1 = 2 (3 + 2 - 2) = 6; v_1 = 8; v_0 = 1 + 2 + .5 * 6 = 6
    ratios = column(math.log(4), math.log(4))
    found = v_trace(
        column(1, 3), column(1, 2), column(2, 4), flags(0, 0), flags(0, 0), ratios, GAMMA, clip_rho=2.0, clip_c=1.0
    )
    torch.testing.assert_close(found.values, column(6, 8))
    torch.testing.assert_close(found.advantages, column(2 * (1 + 0.5 * 8 - 1), 6))


@pytest.mark.parametrize(("terminated", "after"), [(1, 0.0), (0, 10.0)])
def test_an_episode_that_ends_is_continued_by_its_last_state_only(terminated: int, after: float) -> None:
    # The first step ends an episode; the value of its last state is 10, which counts only if it was truncated.
    found = v_trace(column(1, 3), column(1, 2), column(10, 4), flags(terminated, 0), flags(1, 0), column(0, 0), GAMMA)
    torch.testing.assert_close(found.values, column(1 + GAMMA * after, 5))
    torch.testing.assert_close(found.advantages, column(1 + GAMMA * after - 1, 3))


def test_on_policy_they_are_the_returns_of_generalized_advantages_with_lambda_1() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values, following = (torch.randn(12, 3, generator=generator) for _ in range(3))
    ended = torch.rand(12, 3, generator=generator) < 0.3
    terminated = ended & (torch.rand(12, 3, generator=generator) < 0.5)
    # Within an episode the next value is the value of the next row.
    following[:-1] = torch.where(ended[:-1], following[:-1], values[1:])
    found = v_trace(rewards, values, following, terminated, ended, torch.zeros(12, 3), 0.9)
    arrays = [x.numpy() for x in (rewards, values, following, terminated, ended)]
    expected = torch.from_numpy(generalized_advantages(*arrays, 0.9, 1.0))
    assert bool(terminated.any())
    assert bool((ended & ~terminated).any())
    torch.testing.assert_close(found.values - values, expected)
    torch.testing.assert_close(found.advantages, expected)
