"""Methods on actor and critic: which networks are changed, and the importances of critics by definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from harness import (
    added_gradients,
    cartpoles,
    dqn,
    learn_all,
    learn_one,
    learning,
    pendulums,
    ppo,
    prepared,
    sac,
    sb3,
    td3,
)

from rlcl.errors import UnsupportedError
from rlcl.learners.reinforcement.twin_critics import critic_inputs
from rlcl.methods.cloning import Cloning
from rlcl.methods.ewc import Ewc
from rlcl.methods.l2 import L2
from rlcl.methods.l2_init import L2Init
from rlcl.methods.mas import Mas
from rlcl.methods.si import Si

METHODS = {"ewc": Ewc, "mas": Mas, "l2": L2, "l2_init": L2Init, "si": Si}


def second_experience(learner: Any) -> Any:
    stream = pendulums(40)
    prepared(learner, stream)
    learn_one(learner, stream)
    events = learning(learner, stream)
    next(events)
    return learner


@pytest.mark.parametrize("make", [sac, td3])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("networks", ["primary", "all"])
def test_the_setting_decides_which_networks_are_penalized(name: str, networks: Any, make: Any) -> None:
    learner = second_experience(make(METHODS[name](networks=networks)))
    for key, changed in (("actor", True), ("critic", networks == "all")):
        added = added_gradients(learner, key)
        assert changed == any(g is not None and bool(g.any()) for g in added.values())


@pytest.mark.parametrize("make", [sac, td3])
def test_inputs_of_critics_are_observations_with_the_actions_taken_there(make: Any) -> None:
    stream = pendulums(40, num_envs=2)
    learner = prepared(make(capacity=200), stream)
    learn_one(learner, stream)
    sampled = learner.host.sample_inputs("critic", None, np.random.default_rng(0))
    valid = learner.buffer.valid
    stored = critic_inputs(
        torch.from_numpy(learner.buffer.arrays["observations"][valid]),
        torch.from_numpy(learner.buffer.arrays["actions"][valid]),
    )
    found = {tuple(row) for row in sampled.inputs.tolist()}
    assert found <= {tuple(row) for row in stored.tolist()}
    assert len(found) >= 36  # the newest rows of both rings, without those that are no transitions
    values = learner.host.module_outputs("critic", sampled.inputs)
    torch.testing.assert_close(values, learner.critic(sampled.inputs).T)


@pytest.mark.parametrize(("name", "power"), [("ewc", 2), ("mas", 1)])
def test_importances_of_critics_by_definition(name: str, power: int) -> None:
    method = METHODS[name](strength=0.5, samples=None, networks="all")
    stream = pendulums(30)
    learner = prepared(sac(method), stream)
    learn_one(learner, stream)
    x = learner.host.sample_inputs("critic", None, np.random.default_rng(0)).inputs
    parameters = dict(learner.critic.named_parameters())
    expected = {key: torch.zeros_like(p) for key, p in parameters.items()}
    for row in x:
        values = learner.critic(row[None])[:, 0]
        for scalar in values if name == "ewc" else [values.square().sum()]:
            gradients = torch.autograd.grad(scalar, list(parameters.values()), retain_graph=True)
            for key, gradient in zip(parameters, gradients, strict=True):
                expected[key] += gradient.abs() ** power / len(x)
    factor = 0.5 if name == "ewc" else 2 * 0.5
    for key, value in expected.items():
        torch.testing.assert_close(method._anchors["critic"].curvature[key], factor * value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", [Ewc(networks="all"), Mas(networks="all"), Cloning(critic_strength=1.0)])
def test_critics_of_other_libraries_are_refused(method: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"does not support learner sb3 \(SAC\): the inputs and outputs of its"):
        prepared(sb3("SAC", method), pendulums(40))


@pytest.mark.parametrize("learner", [ppo(Ewc(networks="all")), ppo(Mas(networks="all"), shared=True)])
def test_a_critic_without_outputs_of_its_own_is_refused(learner: Any) -> None:
    with pytest.raises(UnsupportedError, match="its critic is a part of the network that acts"):
        prepared(learner, cartpoles(60))


def test_all_networks_of_a_learner_with_one_are_that_one() -> None:
    learn_all(prepared(dqn(Ewc(networks="all")), cartpoles(60)), cartpoles(60))
    with pytest.raises(UnsupportedError, match=r"cloning .* no critic as a network of its own; set critic_strength: 0"):
        prepared(dqn(Cloning(critic_strength=1.0)), cartpoles(60))


# Cloning.


def test_the_gradient_of_cloning_is_that_of_the_divergence_and_of_the_distance_of_values() -> None:
    # As many are sampled as there are.
    method = Cloning(strength=3.0, critic_strength=2.0, samples=1000, batch_size=1000)
    stream = pendulums(40)
    learner = prepared(sac(method, clip_norm=None), stream)
    learn_one(learner, stream)
    actor, critic = (method._stored[key].memory.contents() for key in ("actor", "critic"))
    assert len(actor["inputs"]) == 40
    torch.testing.assert_close(actor["outputs"], learner.outputs(actor["inputs"]).detach())
    torch.testing.assert_close(critic["outputs"], learner.critic(critic["inputs"]).T.detach())
    next(learning(learner, stream))
    mean, log_std = learner.outputs(actor["inputs"]).chunk(2, 1)
    old_mean, old_log_std = actor["outputs"].chunk(2, 1)
    new, old = torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(old_mean, old_log_std.exp())
    losses = {
        "actor": 3.0 * torch.distributions.kl_divergence(old, new).sum(1).mean(),
        "critic": 2.0 * (learner.critic(critic["inputs"]).T - critic["outputs"]).square().sum(1).mean(),
    }
    for key, loss in losses.items():
        module = learner.modules[key]
        expected = torch.autograd.grad(loss, list(module.parameters()))
        for ours, theirs in zip(added_gradients(learner, key).values(), expected, strict=True):
            assert ours is not None
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_cloning_keeps_the_same_number_of_each_experience_unless_it_has_a_capacity() -> None:
    for capacity, held in ((None, 24), (10, 10)):
        method = Cloning(samples=12, capacity=capacity)
        learn_all(prepared(dqn(method), cartpoles(60)), cartpoles(60))
        assert len(method.memory) == held
