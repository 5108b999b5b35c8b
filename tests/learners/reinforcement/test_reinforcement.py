"""What learners of reinforcement learning share, piece by piece."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rlcl.learners.reinforcement.learner import clip_gradients
from rlcl.networks.mlp import Mlp


@pytest.mark.parametrize("norm", [1e-2, 1e9])
def test_gradients_are_clipped_as_torch_does_bit_for_bit(norm: float) -> None:
    module = Mlp(hidden=(8, 8)).build((3,), 2)
    unused = nn.Parameter(torch.ones(2))  # a head that this batch does not reach
    optimizer = torch.optim.SGD([*module.parameters(), unused], lr=0.0)
    module(torch.randn(5, 3)).square().sum().backward()
    gradients = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    expected = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for parameter, gradient in zip(expected, gradients, strict=True):
        parameter.grad = gradient
    nn.utils.clip_grad_norm_(expected, norm)
    clip_gradients(optimizer, norm)
    optimizer.step()
    for ours, theirs in zip(module.parameters(), expected, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.equal(theirs.grad, ours.grad)
