"""Avalanche's definitions, had by settings: the same network, the same data, the same numbers."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from harness import FewDigits, added_gradients, classifier, digit_stream, learn_one, learning, prepared
from torch import Tensor

from rlcl.data.torchvision_import import import_torchvision
from rlcl.encoders.scale import Scale
from rlcl.learners.optimizers import Sgd
from rlcl.methods.ewc import Ewc
from rlcl.methods.lwf import Lwf
from rlcl.methods.si import Si
from rlcl.types import Budget


@pytest.fixture(scope="module")
def plugins() -> Any:
    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from avalanche.training import plugins
    return plugins


def close(expected: dict[str, Tensor], actual: dict[str, Any]) -> None:
    assert set(expected) == set(actual)
    for name, value in expected.items():
        assert float(value.abs().max()) > 0, name
        torch.testing.assert_close(actual[name], value, rtol=1e-4, atol=1e-6 * float(value.abs().max()))


def test_ewc_has_avalanches_importances(plugins: Any) -> None:
    stream = digit_stream(2, budget=Budget(updates=10))
    # Avalanche's penalty has no half: half its strength here, and 1 makes the curvature the importances.
    method = Ewc(strength=1.0, fisher="batch", batch_size=1, samples=None)
    learner = prepared(classifier(method), stream, encoder=Scale(maximum=16.0))
    learn_one(learner, stream)
    x, y = stream[0].train.read()
    rows = [(image, label, 0) for image, label in zip(x / 16, y, strict=True)]
    plugin = plugins.EWCPlugin(ewc_lambda=0.5)
    importances = plugin.compute_importances(
        learner.module, torch.nn.CrossEntropyLoss(), learner._optimizer, rows, "cpu", 1
    )
    close({name: value.data for name, value in importances.items()}, next(iter(method._anchors.values())).curvature)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # NumPy's, of a tensor in np.square
def test_si_has_avalanches_penalty(plugins: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(model: torch.nn.Module, target: Any, excluded: Any) -> None:
        for name, parameter in model.named_parameters():
            target[name].data = parameter.detach().flatten().clone()

    # Without a copy its old weights are the new ones on a CPU, and its penalty is 0.
    monkeypatch.setattr(plugins.SynapticIntelligencePlugin, "extract_weights", staticmethod(copied))
    strength, updates = 500.0, 6
    stream = digit_stream(3, budget=Budget(updates=updates))
    # Half the strength, for Avalanche has a half; its epsilon, its bound, and the penalty in the integral.
    settings: dict[str, Any] = {"epsilon": 1e-7, "highest": 1e-3, "gradient": "penalized"}
    method = Si(strength=strength / 2, **settings)
    learner = prepared(classifier(method, optimizer=Sgd(lr=0.05)), stream)
    plugin, module = plugins.SynapticIntelligencePlugin(strength), learner.module
    data, theirs = (plugin.ewc_data, plugin.syn_data), plugins.SynapticIntelligencePlugin
    theirs.create_syn_data(module, *data, set())
    # Their plugin watches our training: it is called at the places of a strategy's loop.
    learner._optimizer.register_step_post_hook(lambda *_: theirs.post_update(module, data[1], set()))
    for _ in range(2):
        theirs.init_batch(module, *data, set())
        theirs.pre_update(module, data[1], set())
        for _ in zip(range(updates), learning(learner, stream), strict=False):
            theirs.pre_update(module, data[1], set())
        theirs.update_ewc_data(module, *data, 0.001, set(), 1, eps=plugin.eps)
    # Most lie above the bound, so that the penalty alone would not tell them apart.
    unbounded = {name: -value.data for name, value in data[1]["cum_trajectory"].items()}
    close(unbounded, {name: value.flatten() for name, value in method._parts["network"].importance.items()})
    next(learning(learner, stream))
    loss = theirs.compute_ewc_loss(module, data[0], set(), "cpu", lambd=strength)
    named = dict(module.named_parameters())
    expected = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
    close(expected, added_gradients(learner))


@pytest.mark.parametrize("experiences", [1, 2])
def test_lwf_has_avalanches_distance(plugins: Any, experiences: int) -> None:
    stream = digit_stream(3, budget=Budget(updates=6), data=FewDigits(classes=6))
    learner = prepared(classifier(Lwf(strength=0.7, temperature=3.0)), stream, encoder=Scale(maximum=16.0))
    for _ in range(experiences):
        learn_one(learner, stream)
    distance = plugins.LwFPlugin(alpha=0.7, temperature=3.0).lwf
    # What its `post_adapt` stores after each experience.
    distance.prev_model = copy.deepcopy(learner.module)
    distance.prev_classes_by_task = {0: set(range(2 * experiences))}
    next(learning(learner, stream))
    x, named = learner.batch.inputs, dict(learner.module.named_parameters())
    loss = distance(x, learner.outputs(x), learner.module)
    expected = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
    close(expected, added_gradients(learner))
