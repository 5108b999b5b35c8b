"""What our own reinforcement learners keep from one experience to the next, and what they have cost."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
import torch
from harness import (
    cartpoles,
    differences,
    dqn,
    learn_one,
    learning,
    pendulums,
    ppo,
    prepared,
    restore,
    sac,
    snapshot,
    td3,
)

from rlcl.encoders.running_norm import RunningNorm
from rlcl.encoders.task_one_hot import TaskOneHot
from rlcl.errors import UnsupportedError
from rlcl.learners.boundary import check_boundary_policy
from rlcl.learners.reinforcement.earlier_policies import EarlierPolicies
from rlcl.methods.clear import Clear
from rlcl.methods.distill import Distill
from rlcl.types import BoundaryPolicy, Visibility

SECOND = cartpoles(8)[1]


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
    learner = ppo(Clear(capacity=90, length=4))
    crossed(learner, cartpoles(16), memory="reset")
    assert 2 == len(learner.methods[0].memory)  # of the first rollout of 8 steps


@pytest.mark.parametrize(("policy", "held", "remembered"), [({"buffer": "reset"}, 2, 8), ({"memory": "keep"}, 22, 8)])
def test_the_replay_buffer_alone(policy: dict[str, str], held: int, remembered: int) -> None:
    learner = crossed(dqn(Distill(capacity=9, samples=8), capacity=200), cartpoles(20), **policy)
    assert (held, remembered) == (len(learner.buffer), len(learner.methods[0].memory))


def test_a_memory_that_would_be_emptied_before_it_is_used_is_not() -> None:
    policy = BoundaryPolicy(memory="reset")
    learner = prepared(dqn(Distill(capacity=9, samples=8)), cartpoles(20), boundary=policy)
    with pytest.raises(UnsupportedError, match=r"method distill stores examples at the end .*boundary\.buffer: reset"):
        check_boundary_policy(policy, learner, learner.encoder, Visibility())


def test_an_on_policy_learner_has_no_replay_buffer() -> None:
    policy = BoundaryPolicy(buffer="reset")
    learner = prepared(ppo(), cartpoles(16), boundary=policy)
    with pytest.raises(UnsupportedError, match=r"boundary\.buffer: reset .* it has no replay buffer"):
        check_boundary_policy(policy, learner, learner.encoder, Visibility())


def test_the_log_standard_deviations_of_actions() -> None:
    learner = prepared(ppo(log_std=-0.5), pendulums(16), boundary=BoundaryPolicy(exploration="reset"))
    learn_one(learner, pendulums(16))
    assert -0.5 != learner.policy.free.item()
    learner._cross_boundary(SECOND)
    assert -0.5 == learner.policy.free.item()
    assert learner.policy.free not in learner.optimizers["policy"].state


def test_the_temperature() -> None:
    learner = prepared(sac(temperature=0.5), pendulums(30), boundary=BoundaryPolicy(exploration="reset"))
    learn_one(learner, pendulums(30))
    first = torch.tensor(0.5).log()
    assert not torch.equal(first, learner._log_temperature.data)
    learner._cross_boundary(SECOND)
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


# The first actions of an experience.


def random_rounds(learner: Any, stream: Any, **policy: str) -> list[list[bool]]:
    """For each experience, whether the actions of each env step were uniformly random."""
    prepared(learner, stream, boundary=BoundaryPolicy(**policy))  # type: ignore[arg-type]
    found: list[list[bool]] = []
    made, explored = learner.random_actions, learner.explore
    learner_class = type(learner)

    class Watched(learner_class):  # type: ignore[misc, valid-type]
        def random_actions(self, count: int) -> Any:
            found[-1].append(True)
            return made(count)

        def explore(self, observations: Any, progress: float) -> Any:
            found[-1].append(False)
            return explored(observations, progress)

    learner.__class__ = Watched
    for _ in range(2):
        found.append([])
        learn_one(learner, stream)
    return found


@pytest.mark.parametrize(("policy", "again"), [({}, 0), ({"exploration": "uniform"}, 5)])
def test_uniform_exploration_starts_again(policy: dict[str, str], again: int) -> None:
    first, second = random_rounds(sac(learning_starts=5), pendulums(20), **policy)
    assert first == [True] * 5 + [False] * 15
    assert second == [True] * again + [False] * (20 - again)


def test_random_steps_are_apart_from_the_start_of_learning() -> None:
    learner = td3(learning_starts=5, random_steps=12)
    first, second = random_rounds(learner, pendulums(20), exploration="uniform")
    assert first == second == [True] * 12 + [False] * 8
    assert learner.costs().updates == 2 * (20 - 5) // 2  # the actor is updated every second time


@pytest.mark.parametrize("make", [sac, td3])
def test_planned_updates_are_those_that_are_made(make: Any) -> None:
    policy, stream = BoundaryPolicy(exploration="uniform"), pendulums(20)
    learner = prepared(make(learning_starts=6), stream, boundary=policy)
    made, planned = [], []
    for experience in stream:
        events = learner.learn(experience)
        for _ in events:
            pass
        made.append(learner.costs().updates)
    fresh = prepared(make(learning_starts=6), stream, boundary=policy)
    original = fresh._attached.begin

    class Noting:
        def begin(self, experience: Any, updates: int | None) -> None:
            planned.append(updates)
            original(experience, updates)

        def __getattr__(self, name: str) -> Any:
            return getattr(attached, name)

    attached, fresh._attached = fresh._attached, Noting()
    for _ in stream:
        learn_one(fresh, stream)
    assert [made[0], made[1] - made[0]] == planned


def test_the_policy_of_the_experience_before_acts_first() -> None:
    learner = prepared(
        sac(learning_starts=6), pendulums(20, tasks=2), boundary=BoundaryPolicy(exploration="best_return")
    )
    stream = pendulums(20)
    learn_one(learner, stream)
    before = {name: w.clone() for name, w in learner.actor.state_dict().items()}
    learn_one(learner, stream)
    (policy,) = learner._earlier._policies
    assert differences(before, dict(policy.module.state_dict())) == []
    assert differences(before, dict(learner.actor.state_dict())) != []
    assert learner._exploration_start == 20
    assert learner.acting is not policy.forward


def test_an_earlier_policy_acts_with_the_id_of_its_task() -> None:
    encoder, learner = TaskOneHot(), sac(learning_starts=6)
    stream = encoder.adapt(attrs.evolve(pendulums(20), visibility=Visibility(task_ids="visible")))
    prepared(learner, stream, encoder=encoder, boundary=BoundaryPolicy(exploration="best_return"))
    learn_one(learner, stream)
    seen: list[Any] = []
    original = EarlierPolicies.acting

    def watching(self: EarlierPolicies, starts: Any) -> Any:
        found = original(self, starts)
        return attrs.evolve(found, forward=lambda x: (seen.append(x[:, -2:].tolist()), found.forward(x))[1])

    EarlierPolicies.acting = watching  # type: ignore[method-assign]
    try:
        learn_one(learner, stream)
    finally:
        EarlierPolicies.acting = original  # type: ignore[method-assign]
    assert seen == [[[1.0, 0.0]]] * 6


def earlier(returns: list[list[float]]) -> EarlierPolicies:
    """Three policies in one environment, whose episodes of one step have the returns."""
    found = EarlierPolicies(1)
    for task in range(3):
        found.add(torch.nn.Linear(2, 1), task)
    yes = np.array([True])
    for policy, rewards in enumerate(returns):
        for reward in rewards:
            assert found.acting(yes).task_id == policy
            found.record(yes, {0: reward})
    return found


def test_each_is_tried_and_then_the_best_acts() -> None:
    found, yes = earlier([[1.0], [5.0], [3.0]]), np.array([True])
    acted = []
    for reward in (2.0, 0.0, 9.0):  # the mean of the second falls to 3.5, and to 2.33
        acted.append(found.acting(yes).task_id)
        found.record(yes, {0: reward})
    assert acted == [1, 1, 2]


def test_an_episode_that_another_policy_started_does_not_count() -> None:
    found = EarlierPolicies(2)
    for task in range(2):
        found.add(torch.nn.Linear(2, 1), task)
    found.acting(np.array([True, True]))
    found.record(np.array([True, False]), {0: 4.0})  # the first policy has been tried; the second environment goes on
    assert found.acting(np.array([True, False])).task_id == 1
    found.record(np.array([False, True]), {1: 100.0})  # started by the first
    assert found.acting(np.array([False, True])).task_id == 1
    found.record(np.array([True, False]), {0: 2.0})
    assert found.acting(np.array([True, False])).task_id == 0


def test_its_state_can_be_saved() -> None:
    found = earlier([[1.0], [5.0], [3.0]])
    loaded = EarlierPolicies(1)
    loaded.load_state_dict(found.state_dict(), lambda: torch.nn.Linear(2, 1))
    assert differences(found.state_dict(), loaded.state_dict()) == []
    assert loaded.acting(np.array([True])).task_id == 1
    x = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(found.acting(np.array([True])).forward(x), loaded.acting(np.array([True])).forward(x))


@pytest.mark.parametrize("exploration", ["uniform", "best_return"])
@pytest.mark.parametrize(("make", "stream"), [(dqn, cartpoles), (sac, pendulums), (td3, pendulums)])
def test_resumed_while_it_explores_it_ends_the_same(make: Any, stream: Any, exploration: str) -> None:
    policy = BoundaryPolicy(exploration=exploration)  # type: ignore[arg-type]

    def new(seed: int = 0) -> Any:
        learner = make(learning_starts=8, capacity=200)
        return prepared(learner, stream(24), boundary=policy, seed=seed, event_interval=2)

    through = new()
    for _ in range(2):
        learn_one(through, stream(24))
    stopped = new()
    learn_one(stopped, stream(24))
    next(learning(stopped, stream(24)))
    state = snapshot(stopped)
    resumed = new(seed=5)
    restore(resumed, state)
    learn_one(resumed, stream(24))
    assert differences(snapshot(through), snapshot(resumed)) == []


@pytest.mark.parametrize("value", ["uniform", "best_return"])
def test_on_policy_learners_cannot_let_others_act(value: Any) -> None:
    policy = BoundaryPolicy(exploration=value)
    learner = prepared(ppo(), cartpoles(8), boundary=policy)
    with pytest.raises(UnsupportedError, match=rf"boundary\.exploration: {value} .* its current policy only"):
        check_boundary_policy(policy, learner, learner.encoder, Visibility())


# Critics.


@pytest.mark.parametrize("make", [sac, td3])
def test_critics_their_targets_and_moments_are_reset(make: Any) -> None:
    learner = prepared(make(), pendulums(20), boundary=BoundaryPolicy(critic="reset"))
    initial = {name: w.clone() for name, w in learner.critic.state_dict().items()}
    learn_one(learner, pendulums(20))
    trained, actor = snapshot(learner)["learner"]["modules"]["critic"], learner.actor.state_dict()
    acting = {name: w.clone() for name, w in actor.items()}
    learner._cross_boundary(SECOND)
    fresh = dict(learner.critic.state_dict())
    for weights in (initial, trained):
        assert differences(dict(weights), fresh) != []
    assert differences(fresh, dict(learner.target_networks["critic"].state_dict())) == []
    assert differences(acting, dict(learner.actor.state_dict())) == []
    assert not learner.optimizers["critic"].state
    assert learner.optimizers["actor"].state
    learn_one(learner, pendulums(20))


def test_the_critic_of_ppo_is_reset_alone() -> None:
    learner = prepared(ppo(), cartpoles(16), boundary=BoundaryPolicy(critic="reset"))
    learn_one(learner, cartpoles(16))
    before = {name: w.clone() for name, w in learner.policy.state_dict().items()}
    learner._cross_boundary(SECOND)
    changed = {name for name, w in learner.policy.state_dict().items() if not torch.equal(w, before[name])}
    assert changed == {name for name in before if name.startswith("critic")}
    state = learner.torch_optimizer.state
    assert not any(p in state for p in learner.policy.critic.parameters())
    assert all(p in state for p in learner.policy.actor.parameters())


@pytest.mark.parametrize(
    ("learner", "reason"), [(ppo(shared=True), "set learner.shared: false"), (dqn(), "it has no critic")]
)
def test_a_learner_without_a_critic_of_its_own_says_so(learner: Any, reason: str) -> None:
    policy = BoundaryPolicy(critic="reset")
    prepared(learner, cartpoles(20), boundary=policy)
    with pytest.raises(UnsupportedError, match=rf"boundary\.critic: reset .*{reason}"):
        check_boundary_policy(policy, learner, learner.encoder, Visibility())
