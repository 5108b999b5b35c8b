"""Adam's count of steps for each weight, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from harness import classifier, digit_stream, learning, prepared
from torch import nn

from rlcl.learners.fast.fused_adam import FusedAdam
from rlcl.learners.optimizers import Adam
from rlcl.methods.continual_backprop import ContinualBackprop
from rlcl.methods.parts.weight_steps import WeightSteps, step_correction
from rlcl.networks.mlp import Mlp

LR = 0.01


def test_a_first_step_moves_by_one_learning_rate_and_not_by_three() -> None:
    # A gradient of 2: moments 0.1 * 2 and 0.001 * 4. As one of very many steps it moves by 0.2 / sqrt(0.004) = 3.16.
    moment, square, own = (torch.tensor([v], dtype=torch.float64) for v in (0.2, 0.004, 1.0))
    added = step_correction(moment, square, own, 1e9, LR, (0.9, 0.999), 0.0)
    assert pytest.approx(LR * (10**0.5 - 1)) == float(added)


def test_moments_that_were_never_forgotten_are_right() -> None:
    own = torch.tensor([7.0], dtype=torch.float64)
    assert 0.0 == float(step_correction(torch.ones(1), torch.ones(1), own, 7.0, LR, (0.9, 0.999), 1e-8))


def adam_of_each_weight(gradients: list[torch.Tensor], decay: float, decoupled: bool, forgotten: int) -> torch.Tensor:
    """(3,) where Adam takes weights from 1, the middle one of which has forgotten everything after some steps."""
    w, m, v, steps = torch.ones(3), torch.zeros(3), torch.zeros(3), torch.zeros(3)
    for place, gradient in enumerate(gradients):
        if place == forgotten:
            w[1], m[1], v[1], steps[1] = 0.0, 0.0, 0.0, 0.0
        steps += 1
        g = gradient if decoupled else gradient + decay * w
        w = w * (1 - LR * decay) if decoupled else w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - LR * (m / (1 - 0.9**steps)) / ((v / (1 - 0.999**steps)).sqrt() + 1e-8)
    return w


@pytest.mark.parametrize(
    ("make", "decoupled"),
    [
        (lambda p: FusedAdam([p], lr=LR, weight_decay=0.1), False),
        (lambda p: torch.optim.Adam([p], lr=LR, weight_decay=0.1, fused=True), False),
        (lambda p: torch.optim.AdamW([p], lr=LR, weight_decay=0.1), True),
    ],
)
def test_weights_go_where_counts_of_their_own_take_them(make: Callable[[Any], Any], decoupled: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(3, generator=generator) for _ in range(60)]
    w, steps = nn.Parameter(torch.ones(3)), WeightSteps()
    optimizer = make(w)
    for place, gradient in enumerate(gradients):
        if place == 20:
            w.data[1] = 0.0
            for key in ("exp_avg", "exp_avg_sq"):
                optimizer.state[w][key][1] = 0.0
            steps.restart(optimizer, {"w": (w, torch.tensor([False, True, False]))})
        w.grad = gradient.clone()
        optimizer.step()
        steps.correct(optimizer, {"w": w})
        if place == 40:  # as a checkpoint would
            state = {name: born.clone() for name, born in steps.state_dict().items()}
            steps = WeightSteps()
            steps.load_state_dict(state, {"w": w})
    torch.testing.assert_close(adam_of_each_weight(gradients, 0.1, decoupled, 20), w.detach(), rtol=1e-4, atol=1e-5)


def test_after_the_optimizer_was_reset_it_counts_for_all() -> None:
    w, steps = nn.Parameter(torch.zeros(1)), WeightSteps()
    optimizer = torch.optim.Adam([w], lr=LR)
    for place in range(30):
        if place == 10:
            steps.restart(optimizer, {"w": (w, torch.tensor([True]))})
        if place == 11:
            optimizer.state.clear()
        before = w.item()
        w.grad = torch.ones(1)
        optimizer.step()
        steps.correct(optimizer, {"w": w})
        if place >= 11:
            assert pytest.approx(-LR, rel=1e-4) == w.item() - before


def test_a_replaced_units_outgoing_weights_move_by_at_most_a_learning_rate_at_first() -> None:
    stream = digit_stream(1)
    used = ContinualBackprop(replacement_rate=1 / 3, maturity=8)
    network = Mlp(hidden=(3,), activation="tanh")
    learner = prepared(classifier(used, network=network, optimizer=Adam(lr=LR), batch_size=4), stream)
    moved: list[float] = []
    unit: list[int] = []
    before = torch.zeros(0)
    for _ in learning(learner, stream):
        now = learner.module[-1].weight.detach().clone()
        if unit:
            moved.append(float((now - before)[:, unit].abs().max()))
        fresh = (used.state_dict()["utilities"]["1"]["age"] == 0).nonzero().flatten().tolist()
        before, unit = now, fresh
    assert len(moved) > 3
    assert LR * 1.001 > max(moved)
    assert LR * 0.9 < max(moved)
