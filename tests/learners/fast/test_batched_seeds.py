"""Learners under several seeds that learn as one computation, each beside itself alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
from harness import cartpoles, differences, dqn, learn_all, learning, pendulums, ppo, prepared, without_rates
from torch import Tensor, nn

from rlcl.errors import DivergenceError, UnsupportedError
from rlcl.learners.fast.batched_seeds import BATCHED, BatchedSeeds, check_batched_seeds
from rlcl.learners.fast.batched_weights import BatchedOptimizer, ParameterBlock, clip_rows, stack_trees
from rlcl.learners.optimizers import Adam, AdamW, RmsProp, Sgd
from rlcl.learners.reinforcement.priorities import Prioritised
from rlcl.learners.reinforcement.recurrent import Recurrent
from rlcl.methods.l2 import L2
from rlcl.networks.mlp import Mlp
from rlcl.streams.stream import Stream
from rlcl.types import BoundaryPolicy

TANH = Mlp(hidden=(16, 8), activation="tanh", initialization="orthogonal")


def on_cartpoles(budget: int = 48) -> Stream:
    return cartpoles(budget, num_envs=2, vectorization="native")


def from_one_cartpole() -> Stream:
    return cartpoles(48)


def on_pendulums() -> Stream:
    return pendulums(48, num_envs=2)


Case = tuple[Callable[[], Any], Callable[[], Stream]]
CASES: dict[str, Case] = {
    "ppo": (lambda: ppo(network=TANH, entropy_weight=0.01), on_cartpoles),
    "ppo_last_minibatch_smaller": (lambda: ppo(batch_size=7), on_cartpoles),
    "ppo_shared": (lambda: ppo(shared=True, batch_size=None), on_cartpoles),
    "ppo_continuous": (lambda: ppo(network=TANH, clip_schedule=True), on_pendulums),
    "a2c": (lambda: ppo(epochs=1, batch_size=None, clip=None, optimizer=RmsProp(lr=7e-4)), on_cartpoles),
    "ppo_sgd": (lambda: ppo(optimizer=Sgd(lr=0.01, momentum=0.9), clip_norm=None), on_cartpoles),
    "dqn": (dqn, on_cartpoles),
    "dqn_double_dueling": (lambda: dqn(double=True, dueling=True, n_step=3, tau=0.5), on_cartpoles),
    "dqn_prioritised": (lambda: dqn(prioritised=Prioritised(), gradient_steps=2), on_cartpoles),
    "dqn_one_environment": (lambda: dqn(gradient_steps=3, optimizer=AdamW(lr=0.01)), from_one_cartpole),
}


def trained_together(learners: Sequence[Any], streams: Sequence[Stream]) -> list[list[Any]]:
    """Each learns its stream to its end, batched; the events of each."""
    batched, events = BatchedSeeds(), [[] for _ in learners]  # type: ignore[var-annotated]
    batched.paused = True
    steps = dict(enumerate(map(learning, learners, streams)))
    with ExitStack() as joined:
        for learner in learners:
            joined.enter_context(batched.registered(learner))
        while steps:
            for i, one in list(steps.items()):
                try:
                    event = next(one)
                except StopIteration:
                    del steps[i]
                    continue
                if event is not None:
                    events[i].append(event)
            batched.paused = False
    return events


def weights(learner: Any) -> list[Tensor]:
    return [p.detach().clone() for module in learner.modules.values() for p in module.parameters()]


def largest(expected: Sequence[Tensor], actual: Sequence[Tensor]) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(expected, actual, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_three_updates_on_a_fixed_rollout_are_those_of_each_alone(name: str) -> None:
    make, stream = CASES[name]
    alone, joined = ([prepared(make(), stream(), seed=seed) for seed in range(3)] for _ in range(2))
    batches = [collected(learner, stream()) for learner in alone]
    first = [weights(learner) for learner in alone]
    assert largest(first[0], first[1]) > 1e-2  # another seed is another learner
    joint = BATCHED[type(joined[0])](joined)
    for _ in range(3):
        for learner, batch in zip(alone, batches, strict=True):
            learner.update_on(batch)
        joint.update_on(stack_trees(batches))
    for before, one, other in zip(first, alone, joined, strict=True):
        assert largest(before, weights(one)) > 1e-3
        assert largest(weights(one), weights(other)) < 1e-5
        for key, expected in moments(one).items():
            assert torch.allclose(expected, moments(other)[key], rtol=1e-3, atol=1e-6), key


def collected(learner: Any, stream: Stream) -> Any:
    """What the learner is to learn from first."""
    found: list[Any] = []
    update_on = type(learner).update_on

    def noted(self: Any, batch: Any) -> Any:
        found.append(batch)
        raise StopIteration

    type(learner).update_on = noted
    try:
        with pytest.raises(RuntimeError):
            learn_all(learner, stream)
    finally:
        type(learner).update_on = update_on
    learner.batch = None
    return found[0]


def moments(learner: Any) -> dict[str, Tensor]:
    state = learner.state_dict()["optimizers"]["policy"]["state"]
    return {f"{i} {key}": value for i, its in state.items() for key, value in its.items() if value is not None}


@pytest.mark.parametrize("name", CASES)
def test_a_whole_stream_in_a_batch_is_what_it_is_alone(name: str) -> None:
    make, stream = CASES[name]
    alone, joined = ([prepared(make(), stream(), seed=seed, event_interval=16) for seed in range(3)] for _ in range(2))
    expected = [learn_all(learner, stream()) for learner in alone]
    actual = trained_together(joined, [stream() for _ in joined])
    for one, other, its, ours in zip(alone, joined, expected, actual, strict=True):
        for (step, values), (at, found) in zip(without_rates(its), without_rates(ours), strict=True):
            assert step == at
            assert values == pytest.approx(found, rel=1e-2, abs=1e-3)
        assert largest(weights(one), weights(other)) < 1e-3
        left, right = one.state_dict(), other.state_dict()
        assert [] == differences(left["rng"], right["rng"])  # it acted, and drew, as often
        assert [] == differences(left["position"], right["position"])
        assert left["updates"] == right["updates"] > 0


def test_what_is_saved_in_the_middle_goes_on_alone_or_trained_together() -> None:
    make, stream = CASES["dqn_double_dueling"]
    through = [prepared(make(), stream(), seed=seed) for seed in range(2)]
    trained_together(through, [stream() for _ in through])
    stopped = [prepared(make(), stream(), seed=seed) for seed in range(2)]
    states = part_of_the_way(stopped, stream, (12, 20))
    resumed = [prepared(make(), stream(), seed=seed) for seed in range(2)]
    for learner, state in zip(resumed, states, strict=True):
        learner.load_state_dict(state)
    assert [12, 20] == [learner.position.step for learner in resumed]
    trained_together(resumed, [stream() for _ in resumed])
    for expected, actual in zip(through, resumed, strict=True):
        assert largest(weights(expected), weights(actual)) < 1e-4
        assert [] == differences(expected.state_dict()["rng"], actual.state_dict()["rng"])


def part_of_the_way(learners: Sequence[Any], stream: Callable[[], Stream], steps: Sequence[int]) -> list[Any]:
    """The state of each as it was batched after so many env steps of its own."""
    batched, states = BatchedSeeds(), {}
    with ExitStack() as joined:
        for learner in learners:
            joined.enter_context(batched.registered(learner))
        running = [learning(learner, stream()) for learner in learners]
        while len(states) < len(learners):
            for i, (one, learner) in enumerate(zip(running, learners, strict=True)):
                next(one)
                if learner.position.step == steps[i] and i not in states:
                    states[i] = learner.state_dict()
    return [states[i] for i in range(len(learners))]


def test_a_learner_that_waits_is_as_it_was() -> None:
    learners = [prepared(ppo(), on_cartpoles(), seed=seed) for seed in range(2)]
    batched = BatchedSeeds()
    with batched.registered(learners[0]), batched.registered(learners[1]):
        first, second = (learning(learner, on_cartpoles()) for learner in learners)
        next(first)
        before = learners[0].state_dict()
        next(first)
        assert [] == differences(before, learners[0].state_dict())
        next(second)  # both have asked: both advance
        assert 16 == learners[1].position.step
        assert 0 == learners[0].position.step
        next(first)
        assert 16 == learners[0].position.step


def test_one_that_leaves_is_waited_for_no_longer() -> None:
    learners = [prepared(ppo(), on_cartpoles(), seed=seed) for seed in range(2)]
    batched = BatchedSeeds()
    with batched.registered(learners[0]):
        steps = learning(learners[0], on_cartpoles())
        with batched.registered(learners[1]):
            assert next(steps) is None
            assert 0 == learners[0].position.step
        next(steps)
        assert 16 == learners[0].position.step


@pytest.mark.filterwarnings("ignore:.*not within the observation space")
@pytest.mark.parametrize("stream", [from_one_cartpole, on_cartpoles])
def test_an_environment_that_gives_no_number_fails_its_own_learner_alone(stream: Callable[[], Stream]) -> None:
    learners = [prepared(ppo(), stream(), seed=seed) for seed in range(3)]
    failed, batched = [], BatchedSeeds()
    batched.paused = True
    with ExitStack() as joined:
        for learner in learners:
            joined.enter_context(batched.registered(learner))
        steps = dict(enumerate(learning(learner, stream()) for learner in learners))
        for one in steps.values():
            next(one)
        batched.paused = False
        poison(learners[1].collector.vector)
        while steps:
            for i, one in list(steps.items()):
                try:
                    next(one)
                except StopIteration:
                    del steps[i]
                except DivergenceError:
                    failed.append(i)
                    batched.unregister(learners[i])
                    del steps[i]
    alone = prepared(ppo(), stream(), seed=2)
    learn_all(alone, stream())
    assert [1] == failed
    assert largest(weights(alone), weights(learners[2])) < 1e-3


def poison(vector: Any) -> None:
    """Makes of the state what is no number."""
    environments = getattr(vector, "envs", None)
    environment = vector.unwrapped if environments is None else environments[0].unwrapped
    environment.state = np.full_like(np.asarray(environment.state), np.nan)


class TestABlock:
    def test_its_rows_are_the_modules_own_parameters(self) -> None:
        modules = [nn.Linear(2, 3), nn.Linear(2, 3)]
        copies = [[p.detach().clone() for p in module.parameters()] for module in modules]
        block = ParameterBlock([module.parameters() for module in modules])
        assert (2, 9) == tuple(block.weights.shape)
        for module, copied in zip(modules, copies, strict=True):
            assert 0 == largest(copied, list(module.parameters()))
        block.weights[1, 8] = 5.0
        assert 5.0 == modules[1].bias[2].item() == block.stacked_parameter(modules[0].bias)[1, 2].item()
        block.stacked_parameter(modules[0].weight).grad[1, 2, 1] = 7.0  # type: ignore[index]
        assert modules[1].weight.grad is not None
        assert 7.0 == modules[1].weight.grad[2, 1].item()

    def test_each_row_is_clipped_by_its_own_norm(self) -> None:
        gradients = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
        clip_rows(gradients, 1.0)
        assert torch.allclose(torch.tensor([[0.6, 0.8], [0.3, 0.4]]), gradients)

    def test_optimizers_find_their_state_in_what_was_stepped_trained_together(self) -> None:
        modules = [nn.Linear(2, 1, bias=False) for _ in range(2)]
        optimizers = [Adam(lr=0.1).build(list(module.parameters())) for module in modules]
        block = ParameterBlock([module.parameters() for module in modules])
        step = BatchedOptimizer(Adam(lr=0.1), block, optimizers, None)
        block.gradients.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        step.step()
        state = optimizers[1].state[modules[1].weight]
        assert torch.allclose(torch.tensor([[0.3, 0.4]]), state["exp_avg"])  # 0.1 of the gradient
        assert 1.0 == float(state["step"])
        again = BatchedOptimizer(
            Adam(lr=0.1), ParameterBlock([module.parameters() for module in modules]), optimizers, None
        )
        again._block.gradients.fill_(1.0)
        again.step()
        assert torch.allclose(torch.tensor([[0.37, 0.46]]), optimizers[1].state[modules[1].weight]["exp_avg"])


class TestRefusals:
    @pytest.mark.parametrize(
        ("learner", "told"),
        [
            (lambda: ppo(target_kl=0.1), r"learner.target_kl: batched_seeds: true .*remove target_kl, or set"),
            (lambda: ppo(L2()), r"learner.methods: batched_seeds: true .*remove them"),
            (
                lambda: dqn(network=Mlp(hidden=(8,), dropout=0.1)),
                r"learner.network: batched_seeds: true only supports chains",
            ),
            (lambda: ppo(network=Mlp(hidden=(8,), layer_norm=True)), r"learner.network: .*without layer_norm"),
            (lambda: ppo(recurrent=Recurrent(size=4)), r"learner.recurrent: batched_seeds: true .*remove recurrent"),
            (lambda: ppo(optimizer=Own()), r"learner.optimizer: .* got .*Own; use adam"),
        ],
    )
    def test_what_does_not_go_together_is_told_by_its_key(self, learner: Callable[[], Any], told: str) -> None:
        with pytest.raises(UnsupportedError, match=told):
            check_batched_seeds(prepared(learner(), on_cartpoles()), BoundaryPolicy())

    def test_exploration_that_is_reset(self) -> None:
        with pytest.raises(UnsupportedError, match=r"boundary.exploration: batched_seeds: true .* set keep"):
            check_batched_seeds(prepared(ppo(), on_pendulums()), BoundaryPolicy(exploration="reset"))

    def test_a_learner_that_has_no_such_updates(self) -> None:
        with pytest.raises(UnsupportedError, match=r"learner.type: batched_seeds: true .*; use ppo or dqn"):
            check_batched_seeds(object(), BoundaryPolicy())


class Own:
    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1)
