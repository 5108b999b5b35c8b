"""Selective replay: what is kept, and the gradient that it adds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from harness import added_gradients, cartpoles, dqn, environment_stream, learn_all, learn_one, pendulums, prepared
from harness import sac as make_sac
from harness import td3 as make_td3
from probes import Forbidding, Probe

from rlcl.data.sources import Environment
from rlcl.methods.selective_replay import SelectiveReplay
from rlcl.types import Transitions


@pytest.mark.parametrize("make", [make_sac, make_td3])
def test_it_adds_the_gradient_of_the_learners_own_loss_to_each_network(make: Any) -> None:
    # All that is stored is replayed. The noise of the loss comes from the method, in the order of the networks.
    method = SelectiveReplay(ratio=1000.0, capacity=100)
    stream = pendulums(30)
    learner = prepared(make(method, clip_norm=None), stream)
    learn_one(learner, stream)
    learner.batch = learner.host.sample(1, np.random.default_rng(0))  # its size decides how many are replayed
    fields = {name: c[None] for name, c in method.memory.contents().items()}
    assert fields["rewards"].shape == (1, 25)  # but those before the first update
    transitions, state = Transitions(**fields), method._rng.bit_generator.state
    for key in ("critic", "actor"):
        method._rng.bit_generator.state = state
        # The order of the sample decides which noise a transition gets; with as many as there are, it is a permutation.
        order = method._rng.choice(25, 25, replace=False, shuffle=False)
        permuted = Transitions(*(None if c is None else c[:, order] for c in transitions))
        loss = 1000.0 * learner.host.transition_loss(key, permuted, method._rng)
        expected = torch.autograd.grad(loss, list(learner.modules[key].parameters()))
        method._rng.bit_generator.state = state
        for ours, theirs in zip(added_gradients(learner, key).values(), expected, strict=True):
            assert ours is not None
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-2)


def test_what_is_stored_are_the_transitions_of_the_stream() -> None:
    method = SelectiveReplay(capacity=1000)
    source = Environment(Probe, kwargs={"length": 5}, num_envs=2, seed=1, name="probe")
    stream = environment_stream(source, budget=24)
    learner = prepared(dqn(method, learning_starts=0), stream)
    learn_all(learner, stream)
    stored, buffer = method.memory.contents(), learner.buffer
    valid = np.flatnonzero(buffer.valid)
    expected = buffer.at(valid, learner.gamma)
    rows = sorted(zip(stored["observations"].tolist(), stored["rewards"].tolist(), strict=True))
    assert rows == sorted(zip(expected.observations.tolist(), expected.rewards.tolist(), strict=True))
    assert int(stored["terminated"].sum()) == int(buffer.arrays["terminated"][valid].sum())


def test_a_reservoir_is_a_sample_of_the_stream_and_experiences_may_have_equal_shares() -> None:
    for selection in ("reservoir", "per_experience"):
        method = SelectiveReplay(capacity=40, selection=selection)  # type: ignore[arg-type]
        learner = prepared(dqn(method, learning_starts=0), cartpoles(400))
        learn_one(learner, cartpoles(400))
        assert (len(method.memory), method.memory.seen) == (40, 400)
        learn_one(learner, cartpoles(400))
        assert (len(method.memory), method.memory.seen) == (40, 800)
    assert torch.bincount(method.memory.contents()["targets"]).tolist() == [20, 20]


def test_masks_of_a_later_experience_are_stored() -> None:
    sources = [
        Environment(Forbidding, kwargs={"said": said, "lenient": True}, num_envs=1, seed=i, name=said)
        for i, said in enumerate(("nothing", "info"))
    ]
    method = SelectiveReplay(capacity=200)
    stream = environment_stream(*sources, budget=40)
    learner = prepared(dqn(method, learning_starts=0), stream)
    learn_one(learner, stream)
    assert bool(method.memory.contents()["next_masks"].all())
    learn_one(learner, stream)
    masks = method.memory.contents()["next_masks"]
    assert bool(masks[:40].all())
    assert not bool(masks[40:].all(1).any())


def test_per_experience_needs_boundaries_and_a_reservoir_does_not() -> None:
    stream = cartpoles(60, boundaries="hidden")
    learn_all(prepared(dqn(SelectiveReplay()), stream), stream)
    with pytest.raises(Exception, match=r"selective_replay .*hides where an experience ends"):
        prepared(dqn(SelectiveReplay(selection="per_experience")), stream)
