"""Shrink and perturb, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import classifier, digit_stream, learn_one, learning, prepared, weights

from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Sgd
from rlcl.methods.shrink_and_perturb import ShrinkAndPerturb, shrink_and_perturb


def test_each_weight_is_shrunk_and_gets_its_own_noise() -> None:
    first, second = torch.nn.Parameter(torch.tensor([[2.0, -4.0]])), torch.nn.Parameter(torch.tensor([8.0]))
    shrink_and_perturb([first, second], 0.25, 0.5, np.random.default_rng(3))
    e = np.random.default_rng(3).standard_normal(3, dtype=np.float32)
    torch.testing.assert_close(torch.tensor([[1.5 + 0.5 * e[0], -3 + 0.5 * e[1]]]), first.detach())
    torch.testing.assert_close(torch.tensor([6 + 0.5 * e[2]]), second.detach())


def test_without_noise_it_draws_nothing() -> None:
    rng = np.random.default_rng(0)
    shrink_and_perturb([torch.nn.Parameter(torch.ones(3))], 0.5, 0.0, rng)
    assert np.random.default_rng(0).random() == rng.random()


def test_at_every_update_the_weights_shrink_after_the_step() -> None:
    stream = digit_stream(1)
    plain = prepared(classifier(optimizer=Sgd(lr=0.05)), stream)
    shrunk = prepared(classifier(ShrinkAndPerturb(decay=0.5, noise=0.0), optimizer=Sgd(lr=0.05)), stream)
    for learner in (plain, shrunk):
        next(learning(learner, stream))
    for name, expected in weights(plain).items():
        torch.testing.assert_close(0.5 * expected, weights(shrunk)[name])


def test_at_boundaries_it_waits_for_the_next_experience() -> None:
    stream = digit_stream(2)
    plain = prepared(classifier(optimizer=Sgd(lr=1e-9)), stream)
    used = ShrinkAndPerturb(decay=0.5, noise=0.0, every="boundary")
    shrunk = prepared(classifier(used, optimizer=Sgd(lr=1e-9)), stream)
    for factor in (1.0, 0.5):
        for learner in (plain, shrunk):
            learn_one(learner, stream)
        for name, expected in weights(plain).items():
            torch.testing.assert_close(factor * expected, weights(shrunk)[name])


def test_only_boundaries_need_to_be_announced() -> None:
    stream = digit_stream(2, boundaries="hidden")
    prepared(classifier(ShrinkAndPerturb()), stream)
    with pytest.raises(UnsupportedError, match="hides where an experience ends"):
        prepared(classifier(ShrinkAndPerturb(every="boundary")), stream)
