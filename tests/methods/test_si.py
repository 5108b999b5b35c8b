"""Synaptic intelligence: the path integral by hand, and beside other methods."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import added_gradients, classifier, digit_stream, learn_one, learning, pendulums, prepared, sb3, weights
from torch import Tensor

from rlcl.encoders.scale import Scale
from rlcl.learners.optimizers import Adam, Sgd
from rlcl.methods.l2_init import L2Init
from rlcl.methods.si import PathIntegral, Si
from rlcl.networks.mlp import Mlp
from rlcl.networks.multihead import Multihead
from rlcl.types import Budget


def stepped(optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter, *gradients: list[float] | None) -> None:
    for gradient in gradients:
        parameter.grad = None if gradient is None else torch.tensor(gradient)
        optimizer.step()


class TestPathIntegral:
    def path(self, lr: float = 0.5, **sgd: float) -> tuple[PathIntegral, torch.nn.Parameter, torch.optim.Optimizer]:
        parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        optimizer = torch.optim.SGD([parameter], lr=lr, **sgd)
        path = PathIntegral()
        optimizer.register_step_pre_hook(path.before)
        optimizer.register_step_post_hook(path.after)
        path.begin({"p": parameter})
        return path, parameter, optimizer

    def test_it_is_minus_the_sum_of_gradient_times_step(self) -> None:
        path, parameter, optimizer = self.path()
        stepped(optimizer, parameter, [2.0, 0.0], [-1.0, 4.0])
        # Steps -1 and +1/2 of the first weight, 0 and -2 of the second.
        assert path.value["p"].tolist() == [2 * 1 + 1 * 0.5, 4 * 2]

    def test_it_takes_the_step_as_the_optimizer_made_it(self) -> None:
        path, parameter, optimizer = self.path(momentum=0.5)
        stepped(optimizer, parameter, [2.0, 0.0], [2.0, 0.0])
        # The second step is 0.5 * (0.5 * 2 + 2) = 1.5.
        assert path.value["p"].tolist() == [2 * 1 + 2 * 1.5, 0]

    def test_a_step_without_a_gradient_adds_nothing(self) -> None:
        path, parameter, optimizer = self.path()
        stepped(optimizer, parameter, [2.0, 0.0], None)
        assert path.value["p"].tolist() == [2, 0]

    def test_what_is_changed_between_steps_does_not_count(self) -> None:
        path, parameter, optimizer = self.path()
        stepped(optimizer, parameter, [2.0, 0.0])
        with torch.no_grad():
            parameter.add_(100.0)
        stepped(optimizer, parameter, [2.0, 0.0])
        assert path.value["p"].tolist() == [4, 0]

    def test_it_begins_anew_where_the_weights_are(self) -> None:
        path, parameter, optimizer = self.path()
        stepped(optimizer, parameter, [2.0, 0.0])
        path.begin({"p": parameter})
        assert path.value["p"].tolist() == [0, 0]
        assert path.start["p"].tolist() == [0, 2]

    def test_a_loaded_one_is_apart_from_what_it_was_loaded_from(self) -> None:
        path, parameter, optimizer = self.path()
        state = {"start": {"p": torch.zeros(2)}, "value": {"p": torch.ones(2)}}
        path.load_state_dict(state)
        path.bind({"p": parameter})
        stepped(optimizer, parameter, [2.0, 0.0])
        assert path.value["p"].tolist() == [3, 1]
        assert state["value"]["p"].tolist() == [1, 1]


class Ways:
    """The integrals written down naively, of the gradient that a hook sees before any method's."""

    def __init__(self, learner: Any) -> None:
        self.named = dict(learner.module.named_parameters())
        self.total: dict[str, Tensor] = {}
        learner._optimizer.register_step_post_hook(self.after)
        backward = learner.objective.loss

        def loss(batch: Any) -> Tensor:
            self.before = {n: p.detach().clone() for n, p in self.named.items()}
            value: Tensor = backward(batch)
            gradients = torch.autograd.grad(value, list(self.named.values()), retain_graph=True, allow_unused=True)
            self.gradients = dict(zip(self.named, gradients, strict=True))
            return value

        learner.objective.loss = loss

    def after(self, *_: Any) -> None:
        for name, p in self.named.items():
            gradient = self.gradients[name]
            step = p.detach() - self.before[name]
            moved = torch.zeros_like(step) if gradient is None else -gradient * step
            self.total[name] = self.total.get(name, 0) + moved

    def taken(self) -> dict[str, Tensor]:
        total, self.total = self.total, {}
        return total


@pytest.fixture
def open_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier whose methods can be replaced on the instance."""
    import harness

    from rlcl.learners.supervised.classifier import Classifier

    monkeypatch.setattr(harness, "Classifier", type("Open", (Classifier,), {}))


def close(expected: dict[str, Tensor], actual: dict[str, Any]) -> None:
    for name, value in expected.items():
        assert float(value.abs().max()) > 0, name
        torch.testing.assert_close(actual[name], value, rtol=1e-4, atol=1e-6 * float(value.abs().max()))


@pytest.mark.usefixtures("open_classifier")
@pytest.mark.parametrize("others", [(), (L2Init(strength=0.5),)], ids=["alone", "beside l2_init"])
def test_its_gradient_is_that_of_the_papers_penalty_of_all_past_experiences(others: tuple[Any, ...]) -> None:
    stream = digit_stream(3, budget=Budget(updates=6))
    # First in the list or last: the phases decide, so that it integrates the gradient of the loss alone.
    learner = prepared(classifier(*others, Si(strength=3.0, epsilon=0.01)), stream, encoder=Scale(maximum=16.0))
    ways = Ways(learner)
    importance = {name: torch.zeros_like(w) for name, w in weights(learner).items()}
    for _ in range(2):
        start = weights(learner)
        learn_one(learner, stream)
        end, moved = weights(learner), ways.taken()
        importance = {n: w + moved[n] / ((end[n] - start[n]) ** 2 + 0.01) for n, w in importance.items()}
    next(learning(learner, stream))
    now = weights(learner)
    expected = {n: 2 * 3.0 * importance[n] * (now[n] - end[n]) for n in now}
    actual = added_gradients(learner)
    if others:
        actual = {n: g - 2 * 0.5 * (now[n] - others[0]._anchors["network"].anchor[n]) for n, g in actual.items()}
    close(expected, actual)


@pytest.mark.parametrize(("gradient", "expected"), [("own", 1.0), ("penalized", 1.0 + 6.0)])
def test_the_penalty_is_in_the_integral_only_where_that_is_asked_for(gradient: Any, expected: float) -> None:
    stream = digit_stream(2, budget=Budget(updates=1))
    method = Si(strength=1.5, gradient=gradient)
    learner = prepared(classifier(method, optimizer=Sgd(lr=1.0)), stream)
    learn_one(learner, stream)
    next(learning(learner, stream))
    optimizer, part = learner._optimizer, method._parts["network"]
    name, parameter = next(iter(learner.module.named_parameters()))
    part.anchor.curvature[name].fill_(3.0)
    part.anchor.bind(dict(learner.module.named_parameters()))
    part.path.value[name].zero_()
    with torch.no_grad():
        parameter.copy_(part.anchor.anchor[name] + 2.0)
    optimizer.zero_grad()
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    # The loss's gradient is 1 and the penalty's 3 * 2: a step of -7 at a learning rate of 1.
    torch.testing.assert_close(part.path.value[name], torch.full_like(parameter, expected * 7.0))


def test_the_lower_bound_holds_for_the_sum_and_the_upper_for_the_penalty_alone() -> None:
    stream = digit_stream(2, budget=Budget(updates=6))
    method = Si(strength=0.5, epsilon=0.01, lowest=0.0, highest=1e-3)
    learner = prepared(classifier(method), stream, encoder=Scale(maximum=16.0))
    for _ in zip(range(5), learning(learner, stream), strict=False):
        pass
    part = method._parts["network"]
    next(iter(part.path.value.values())).neg_()  # weights that have gone uphill
    learn_one(learner, stream)
    importance = torch.cat([v.flatten() for v in part.importance.values()])
    assert 0 == float(importance.min())
    assert float(importance.max()) > 1e-3
    curvature = torch.cat([v.flatten() for v in part.anchor.curvature.values()])
    torch.testing.assert_close(curvature, importance.clamp(max=1e-3))


def test_a_head_that_was_not_used_has_no_importance() -> None:
    stream = digit_stream(2, task_ids=True, budget=Budget(updates=4))
    method = Si(strength=1.0)
    network = Multihead(body=Mlp(hidden=(16,)), features=16)
    learner = prepared(classifier(method, network=network), stream)
    learn_one(learner, stream)
    importance = method._parts["network"].importance
    assert float(importance["heads.1.weight"].abs().max()) == 0.0
    assert float(importance["heads.0.weight"].abs().max()) > 0


def test_a_parameter_that_has_grown_begins_without_importance() -> None:
    stream = digit_stream(3, budget=Budget(updates=4))
    method = Si(strength=1.0)
    learner = prepared(classifier(method, optimizer=Adam(lr=0.01)), stream)
    learn_one(learner, stream)
    part = method._parts["network"]
    name = next(iter(part.importance))
    shape = part.importance[name].shape
    part.importance[name] = torch.full((3,), 1e6)
    part.anchor.curvature[name] = torch.full((3,), 1e6)
    learn_one(learner, stream)
    assert [shape, shape] == [part.importance[name].shape, part.anchor.curvature[name].shape]
    assert float(part.importance[name].abs().max()) < 1e6


def test_it_holds_every_optimizer_of_its_host() -> None:
    stream = pendulums(40)
    method = Si(strength=1.0)
    learner = prepared(sb3("SAC", method), stream)
    learn_one(learner, stream)
    for key in ("actor", "critic"):
        assert any(float(v.abs().max()) > 0 for v in method._parts[key].importance.values())
