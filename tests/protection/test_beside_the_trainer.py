"""A loop of one's own with a guard computes what the trainer computes, for every registered method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from harness import HOSTS, HostCase
from method_settings import METHODS, SETTINGS, method
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.networks.task_ids import call_network
from rlcl.protection.model_guard import ModelGuard
from rlcl.protection.model_host import ModelHost
from rlcl.seeding import Seeds
from rlcl.streams.visibility import learner_view
from rlcl.types import IMPOSSIBLE

SEEDS = Seeds(0).child("learner").child("methods")  # of the learners of `prepared`
LOSSES = {"classifier_sgd": F.cross_entropy, "classifier_task_ids": F.cross_entropy, "regressor": F.mse_loss}
# Why a method cannot serve a module and a loss.
TASKS = ("packnet", "xdg")  # need task ids
REFUSED = {
    "clear": "its transitions are not accessible",
    "selective_replay": "its transitions are not accessible",
    "mir": "its loss does not support example weights",
}
# In float32: one casts to it, and one computes in it with its own tensors.
SINGLE = {"lwf": 1e-5, "continual_backprop": 1e-5}
CHANGES = {"cloning": {"critic_strength": 0.0}, "generative_replay": {"mixing": "sum", "labels": "hard"}}


@contextmanager
def precision(name: str) -> Iterator[float]:
    """Sums in another order differ by rounding, which is small in float64; yield the tolerance."""
    torch.set_default_dtype(torch.float32 if name in SINGLE else torch.float64)
    try:
        yield SINGLE.get(name, 1e-8)
    finally:
        torch.set_default_dtype(torch.float32)


class Heads(nn.Module):
    """A user's model that is called with task ids: as in rlcl, the logits of other tasks' classes are impossible."""

    takes_task_ids = True

    def __init__(self, network: nn.Module, classes: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.network = network
        self.masks = torch.ones(len(classes), max(map(max, classes)) + 1, dtype=torch.bool)
        for task, of_task in enumerate(classes):
            self.masks[task, list(of_task)] = False

    def forward(self, x: Tensor, task_ids: Tensor) -> Tensor:
        outputs: Tensor = call_network(self.network, x, task_ids)
        return outputs.float().masked_fill(self.masks[task_ids], IMPOSSIBLE)


def one(name: str) -> Any:
    return method(name, **CHANGES.get(name, {}))


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def trained(case: HostCase, name: str) -> tuple[list[Any], dict[str, Tensor], dict[str, float]]:
    """What the trainer shows a learner (data, updates and minibatches of each experience), and what it learns."""
    learner = case.prepared(one(name))
    shown: list[tuple[Tensor, Tensor]] = []
    data: list[tuple[Tensor, Tensor]] = []

    def record(*_: Any) -> None:
        shown.append((learner.batch.inputs.clone(), learner.batch.targets.clone()))
        data[:] = [(learner.host.data.inputs.clone(), learner.host.data.targets.clone())]

    learner.optimizers["network"].register_step_post_hook(record)
    experiences = []
    for experience in learner_view(case.stream()).experiences:
        shown.clear()
        for _ in learner.learn(experience):
            pass
        experiences.append((data[0], learner.steps(experience), experience.task_id, [*shown]))
    return experiences, weights(learner.module), learner._attached.quantities()


@pytest.mark.parametrize("host", LOSSES)
@pytest.mark.parametrize("name", [name for name in METHODS if name not in REFUSED])
def test_weights_and_quantities_are_those_of_the_trainer(name: str, host: str) -> None:
    case = HOSTS[host]
    task_ids = "task_id" in case.provides
    if name in TASKS and not task_ids:
        pytest.skip("it needs task ids")
    if name == "reset" and task_ids:
        pytest.skip("a model with heads has no single last layer")
    with precision(name) as tolerance:
        experiences, expected, quantities = trained(case, name)
        plain = case.prepared()
        module = Heads(plain.module, case.stream().spec.task_classes) if task_ids else plain.module
        guard = ModelGuard(model_host(plain, module, host, experiences[0][0][0].shape[1:]), [one(name)], SEEDS)
        for data, updates, task_id, minibatches in experiences:
            with guard.experience(data, task_id=task_id, updates=updates):
                for x, y in minibatches:
                    guard.step(x, y)
    torch.testing.assert_close(weights(plain.module), expected, rtol=100 * tolerance, atol=tolerance)
    assert guard.quantities() == pytest.approx(quantities, rel=100 * tolerance, abs=1e-12)


def model_host(learner: Any, module: nn.Module, host: str, shape: Sequence[int]) -> ModelHost:
    tasks = "task_id" in HOSTS[host].provides
    memory = ReservoirMemory(10, Seeds(0).numpy())
    return ModelHost(module, learner.optimizers["network"], LOSSES[host], learner.kind, tasks, tuple(shape), memory)


def test_the_methods_have_an_effect() -> None:
    """Otherwise the comparison of weights would prove nothing."""
    case = HOSTS["classifier_sgd"]
    found = {name: trained(case, name)[1] for name in ("l2_init", "ewc", "rehearsal", "lwf", "reset", "der")}
    for name, changed in found.items():
        others = [other for key, other in found.items() if key != name]
        assert all(not torch.equal(other["1.weight"], changed["1.weight"]) for other in others), name


@pytest.mark.parametrize("name", REFUSED)
def test_a_method_that_needs_more_is_refused_by_name_and_reason(name: str) -> None:
    plain = HOSTS["classifier_sgd"].prepared()
    host = model_host(plain, plain.module, "classifier_sgd", (64,))
    with pytest.raises(UnsupportedError, match=rf"methods\[0\]: {name} does not support .*{REFUSED[name]}"):
        ModelGuard(host, [one(name)], SEEDS)


def test_every_registered_method_is_tried() -> None:
    assert {*REFUSED, *CHANGES} <= {*METHODS}
    assert SETTINGS.keys() <= {*METHODS}
