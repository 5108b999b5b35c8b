"""Riemannian walk, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import added_gradients, classifier, digit_stream, learn_one, learning, pendulums, prepared, sb3, weights
from torch import Tensor, nn

from rlcl.encoders.scale import Scale
from rlcl.learners.optimizers import Sgd
from rlcl.methods.rwalk import RWalk, WalkState
from rlcl.networks.mlp import Mlp
from rlcl.networks.multihead import Multihead
from rlcl.types import Budget


class TestWalk:
    """Two weights under SGD with a learning rate of 1: a step is minus the gradient."""

    def walked(self, *gradients: list[float], decay: float = 0.5, interval: int = 2) -> tuple[WalkState, nn.Parameter]:
        parameter = nn.Parameter(torch.zeros(2))
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        walk = WalkState(decay, interval, epsilon=1.0)
        for hook in (walk.before, walk.path.before, walk.anchor):
            optimizer.register_step_pre_hook(hook)
        for hook in (walk.path.after, walk.after):
            optimizer.register_step_post_hook(hook)
        walk.begin({"p": parameter})
        for gradient in gradients:
            parameter.grad = torch.tensor(gradient)
            optimizer.step()
        return walk, parameter

    def test_the_fisher_begins_with_the_first_square_and_then_runs(self) -> None:
        walk, _ = self.walked([2.0, 0.0])
        assert [4.0, 0.0] == walk.fisher["p"].tolist()
        walk, _ = self.walked([2.0, 0.0], [4.0, 2.0])
        assert [10.0, 2.0] == walk.fisher["p"].tolist()  # halfway from 4, 0 to 16, 4
        walk, _ = self.walked([2.0, 0.0], [4.0, 2.0], decay=0.25)
        assert [7.0, 1.0] == walk.fisher["p"].tolist()

    def test_an_intervals_score_is_the_fall_of_the_loss_by_its_length(self) -> None:
        walk, _ = self.walked([2.0, 0.0], [4.0, 2.0])
        # falls 2 * 2 + 4 * 4 and 2 * 2; distances 6 and 2; Fishers 10 and 2
        torch.testing.assert_close(walk.score["p"], torch.tensor([20 / (10 * 36 / 2 + 1), 4 / (2 * 4 / 2 + 1)]))

    def test_an_interval_begins_where_the_last_one_ended(self) -> None:
        walk, _ = self.walked([2.0, 0.0], [4.0, 2.0], [1.0, 0.0], [0.0, 0.0])
        # Fisher of the first weight: 10, (10 + 1) / 2, 5.5 / 2; it falls by 1 over a distance of 1
        assert pytest.approx(20 / 181 + 1 / (2.75 / 2 + 1)) == float(walk.score["p"][0])

    def test_both_parts_are_scaled_by_their_greatest_value(self) -> None:
        walk, parameter = self.walked([2.0, 0.0], [4.0, 2.0])
        walk.end(strength=3.0)
        scores = [20 / 181, 4 / 5]
        expected = [6 * (1.0 + scores[0] / scores[1]), 6 * (0.2 + 1.0)]
        torch.testing.assert_close(walk.anchor.curvature["p"], torch.tensor(expected))
        assert parameter.tolist() == walk.anchor.anchor["p"].tolist()

    def test_what_is_left_of_an_interval_counts_at_the_end(self) -> None:
        walk, _ = self.walked([2.0, 0.0])
        assert [0.0, 0.0] == walk.score["p"].tolist()
        walk.end(strength=1.0)
        assert [4 / (4 * 4 / 2 + 1), 0.0] == pytest.approx(walk.past["p"].tolist())

    def test_scores_are_averaged_with_past_ones(self) -> None:
        walk, parameter = self.walked([2.0, 0.0], [4.0, 2.0])
        walk.past = {"p": torch.tensor([1.0, 0.0])}
        walk.end(strength=1.0)
        torch.testing.assert_close(walk.past["p"], torch.tensor([(1 + 20 / 181) / 2, 0.4]))
        walk.begin({"p": parameter})
        assert [0.0, 0.0] == walk.score["p"].tolist()
        assert [10.0, 2.0] == walk.fisher["p"].tolist()  # runs on

    def test_a_negative_score_counts_as_nothing(self) -> None:
        walk, _ = self.walked([2.0, 2.0], [4.0, 2.0])
        walk.score["p"][0] = -5.0
        walk.end(strength=1.0)
        assert 2 * 1.0 == float(walk.anchor.curvature["p"][0])  # the Fisher's share alone
        assert -5.0 == float(walk.past["p"][0])

    def test_the_penalty_is_neither_in_the_fisher_nor_in_the_path(self) -> None:
        walk, parameter = self.walked([2.0, 0.0], [4.0, 2.0])
        walk.end(strength=1.0)
        walk.begin({"p": parameter})
        with torch.no_grad():
            parameter.add_(1.0)
        parameter.grad = torch.zeros(2)
        before = walk.fisher["p"].clone()
        walk.before(None, None, None)  # type: ignore[arg-type]
        walk.path.before(None, None, None)  # type: ignore[arg-type]
        walk.anchor(None, None, None)  # type: ignore[arg-type]
        assert float(parameter.grad.abs().max()) > 0
        torch.testing.assert_close(before / 2, walk.fisher["p"])


def test_the_gradient_is_the_penaltys() -> None:
    stream = digit_stream(2, budget=Budget(updates=7))
    method = RWalk(strength=3.0, interval=3)
    learner = prepared(classifier(method, optimizer=Sgd(lr=0.05)), stream, encoder=Scale(maximum=16.0))
    learn_one(learner, stream)
    end = weights(learner)
    walk = method._walks["network"]
    curvature = {name: value.clone() for name, value in walk.anchor.curvature.items()}
    together = torch.cat([value.flatten() for value in curvature.values()]) / 6
    assert 1.0 < float(together.max()) <= 2.0  # each part is at most 1
    assert float(together.min()) >= 0.0
    for _ in zip(range(3), learning(learner, stream), strict=False):
        pass
    now = weights(learner)
    added: dict[str, Tensor | None] = added_gradients(learner)
    for name, value in now.items():
        torch.testing.assert_close(added[name], curvature[name] * (value - end[name]), rtol=1e-4, atol=1e-7)


def test_a_head_that_was_not_used_is_left_alone() -> None:
    stream = digit_stream(2, task_ids=True, budget=Budget(updates=4))
    method = RWalk(strength=1.0)
    network = Multihead(body=Mlp(hidden=(16,)), features=16)
    learner = prepared(classifier(method, network=network), stream)
    learn_one(learner, stream)
    curvature: dict[str, Any] = method._walks["network"].anchor.curvature
    assert "heads.1.weight" not in curvature
    assert float(curvature["heads.0.weight"].abs().max()) > 0


def test_it_holds_every_optimizer_of_its_host() -> None:
    method = RWalk(strength=1.0)
    stream = pendulums(40)
    learner = prepared(sb3("SAC", method), stream)
    learn_one(learner, stream)
    for key in ("actor", "critic"):
        assert any(float(v.abs().max()) > 0 for v in method._walks[key].anchor.curvature.values())
