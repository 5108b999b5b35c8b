"""What our own reinforcement learners keep from one experience to the next, and what they have cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import cartpoles, dqn, learn_one, learning, pendulums, ppo, prepared, sac

from rlcl.encoders.running_norm import RunningNorm
from rlcl.errors import UnsupportedError
from rlcl.learners.boundary import check_boundary_policy
from rlcl.methods.distill import Distill
from rlcl.types import BoundaryPolicy, Visibility


def crossed(learner: Any, stream: Any, encoder: Any = None, **policy: str) -> Any:
    """The learner after its first experience and the first updates of the second."""
    prepared(learner, stream, encoder=encoder, boundary=BoundaryPolicy(**policy))  # type: ignore[arg-type]
    learn_one(learner, stream)
    next(learning(learner, stream))
    return learner


@pytest.mark.parametrize(("policy", "steps"), [({}, 2), ({"optimizer": "reset"}, 1)])
def test_the_moments_of_the_optimizer(policy: dict[str, str], steps: int) -> None:
    # One pass over one minibatch a rollout, one rollout an experience.
    learner = crossed(ppo(n_steps=8, batch_size=None, epochs=1), cartpoles(8), **policy)
    counts = {int(state["step"]) for state in learner.optimizers["policy"].state.values()}
    assert {steps} == counts


@pytest.mark.parametrize(("policy", "held"), [({}, 22), ({"memory": "reset"}, 2)])
def test_the_replay_buffer(policy: dict[str, str], held: int) -> None:
    # Twenty env steps an experience, and two into the second; a pole falls at a step that the buffer keeps apart.
    learner = crossed(dqn(capacity=200), cartpoles(20), **policy)
    assert held == len(learner.buffer)


def test_memories_of_methods() -> None:
    learner = ppo(Distill(capacity=9, samples=8))
    crossed(learner, cartpoles(16), memory="reset")
    assert 0 == len(learner.methods[0].memory)


def test_the_log_standard_deviations_of_actions() -> None:
    learner = prepared(ppo(log_std=-0.5), pendulums(16), boundary=BoundaryPolicy(exploration="reset"))
    learn_one(learner, pendulums(16))
    assert -0.5 != learner.policy.free.item()
    learner._cross_boundary()
    assert -0.5 == learner.policy.free.item()
    assert learner.policy.free not in learner.optimizers["policy"].state


def test_the_temperature() -> None:
    learner = prepared(sac(temperature=0.5), pendulums(30), boundary=BoundaryPolicy(exploration="reset"))
    learn_one(learner, pendulums(30))
    first = torch.tensor(0.5).log()
    assert not torch.equal(first, learner._log_temperature.data)
    learner._cross_boundary()
    torch.testing.assert_close(learner._log_temperature.data, first)
    assert learner._log_temperature not in learner._temperature_optimizer.state


@pytest.mark.parametrize("frozen", [True, False])
def test_running_statistics(frozen: bool) -> None:
    norm = RunningNorm()
    policy = {"encoder": "freeze"} if frozen else {}
    learner = prepared(ppo(), cartpoles(8), encoder=norm, boundary=BoundaryPolicy(**policy))  # type: ignore[arg-type]
    learn_one(learner, cartpoles(8))
    before = (norm.observed.count, norm.returns.count)
    next(learning(learner, cartpoles(8)))
    assert frozen == (before == (norm.observed.count, norm.returns.count))


def test_exploration_that_is_a_schedule_cannot_be_reset() -> None:
    policy = BoundaryPolicy(exploration="reset")
    learner = prepared(dqn(), cartpoles(20), boundary=policy)
    with pytest.raises(UnsupportedError, match=r"boundary\.exploration: reset .* learner dqn: .*schedule_over"):
        check_boundary_policy(policy, learner, learner.encoder, Visibility())


def test_without_a_memory_there_is_none_to_empty() -> None:
    policy = BoundaryPolicy(memory="reset")
    learner = prepared(ppo(), cartpoles(8), boundary=policy)
    with pytest.raises(UnsupportedError, match=r"boundary\.memory: reset .* none of its methods has a memory"):
        check_boundary_policy(policy, learner, learner.encoder, Visibility())


def test_what_learning_has_cost() -> None:
    learner = prepared(ppo(n_steps=8, batch_size=4, epochs=2), cartpoles(16))
    learn_one(learner, cartpoles(16))
    costs = learner.costs()
    # Four inputs, 16 units; two logits, and one value.
    assert (4 * 16 + 16) * 2 + (16 * 2 + 2) + (16 + 1) == costs.parameters
    assert 2 * 2 * 2 == costs.updates  # rollouts, minibatches, passes
    assert 16 == costs.samples
    assert 0 == costs.memory_bytes
