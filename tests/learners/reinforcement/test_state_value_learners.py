"""Learners with a state-value critic (ppo, and PPO of sb3) on environments with known values and best actions.

For ppo also: transitions, determinism, resuming after any update, divergence, methods, budgets. The corresponding tests
of all registered learners are in ``test_registered_reinforcement_learners.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from attrs import frozen
from harness import (
    cartpoles,
    differences,
    environment_stream,
    learn_all,
    learning,
    pendulums,
    ppo,
    prepared,
    restore,
    sb3,
    snapshot,
    weights,
    without_rates,
)
from probes import Forbidding, Loop, Probe, Signs

from rlcl.data.sources import Environment
from rlcl.encoders.compose import Compose
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.identity import Identity
from rlcl.encoders.running_norm import RunningNorm
from rlcl.encoders.standardize import Standardize
from rlcl.errors import DivergenceError, UnsupportedError
from rlcl.learners.optimizers import Adam
from rlcl.learners.schedules import Linear
from rlcl.methods.ewc import Ewc
from rlcl.streams.stream import Stream
from rlcl.types import Budget, Encoder

GAMMA = 0.5
Array = np.ndarray[Any, Any]


@frozen
class Case:
    """A learner in a small configuration.

    Args:
        make: small, from settings; its discount is set by ``gamma``.
        thorough: the settings under which it finds exact values.
        steps: env steps that this takes.
        values: from a learner and states (B, 1) to the values (B,) that it believes them to have.
        spaces: the actions that it takes.
    """

    make: Callable[..., Any]
    thorough: Mapping[str, Any]
    steps: int
    values: Callable[[Any, Array], Array]
    spaces: tuple[str, ...] = ("discrete", "continuous")


def critic(learner: Any, states: Array) -> Array:
    with torch.no_grad():
        found: Array = learner.policy.critic(torch.from_numpy(states))[:, 0].numpy()
    return found


def library_critic(learner: Any, states: Array) -> Array:
    with torch.no_grad():
        found: Array = learner.model.policy.predict_values(torch.from_numpy(states))[:, 0].numpy()
    return found


LEARNERS: Mapping[str, Case] = {
    "ppo": Case(ppo, {"n_steps": 32, "batch_size": 16, "epochs": 8, "optimizer": Adam(lr=0.01)}, 1000, critic),
    "sb3": Case(
        lambda gamma=GAMMA, **options: sb3("PPO", gamma=gamma, **options),
        {"n_steps": 32, "batch_size": 16, "n_epochs": 8, "learning_rate": 0.01},
        1000,
        library_critic,
    ),
}
OURS = [name for name in LEARNERS if name != "sb3"]
SPACES = [(name, space) for name, case in LEARNERS.items() for space in case.spaces]


def trained(name: str, env: Any, space: str = "", num_envs: int = 1, **kwargs: Any) -> Any:
    """The learner after enough env steps in one environment."""
    case = LEARNERS[name]
    kwargs["continuous"] = (space or case.spaces[0]) == "continuous"
    source = Environment(env, kwargs=kwargs, num_envs=num_envs, seed=1, name="probe")
    stream = environment_stream(source, budget=case.steps * num_envs)
    learner = prepared(case.make(gamma=GAMMA, **case.thorough), stream)
    learn_all(learner, stream)
    return learner


def values(name: str, learner: Any, *states: float) -> list[float]:
    found: list[float] = LEARNERS[name].values(learner, np.array(states, np.float32)[:, None]).tolist()
    return found


def near(*expected: float) -> Any:
    return pytest.approx(list(expected), abs=0.08)


# What values are.


@pytest.mark.parametrize(("name", "space"), SPACES)
def test_a_single_reward_is_the_value(name: str, space: str) -> None:
    assert near(1.0) == values(name, trained(name, Probe, space), 0)


@pytest.mark.parametrize("name", LEARNERS)
def test_values_follow_what_is_observed(name: str) -> None:
    assert near(-1.0, 1.0) == values(name, trained(name, Signs, pays="observation"), -1, 1)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_later_reward_is_discounted(name: str) -> None:
    learner = trained(name, Probe, length=2, reward=0.0, last=1.0)
    assert near(GAMMA, 1.0) == values(name, learner, 0, 1)


@pytest.mark.parametrize("name", LEARNERS)
def test_what_is_cut_off_goes_on_in_value(name: str) -> None:
    # Every step pays 1, and every state looks the same: 1 + GAMMA + GAMMA^2 + ... = 1 / (1 - GAMMA).
    learner = trained(name, Probe, end="truncated", counting=False)
    assert near(1 / (1 - GAMMA)) == values(name, learner, 0)


@pytest.mark.parametrize("name", LEARNERS)
def test_what_is_cut_off_goes_on_in_its_last_state_and_not_in_the_one_it_starts_anew_in(name: str) -> None:
    # As if it went on for ever: V(0) = GAMMA V(1), V(1) = 1 + GAMMA V(0).
    assert near(2 / 3, 4 / 3) == values(name, trained(name, Loop), 0, 1)


@pytest.mark.parametrize("name", LEARNERS)
def test_what_is_over_is_worth_nothing(name: str) -> None:
    assert near(1.0) == values(name, trained(name, Probe, counting=False), 0)
    learner = trained(name, Probe, length=3)
    assert near(1 + GAMMA + GAMMA**2, 1 + GAMMA, 1.0) == values(name, learner, 0, 1, 2)


@pytest.mark.parametrize("name", LEARNERS)
def test_an_episode_that_ends_by_both_is_over(name: str) -> None:
    assert near(1.0) == values(name, trained(name, Probe, end="both", counting=False), 0)


@pytest.mark.parametrize("name", LEARNERS)
def test_environments_side_by_side_have_the_same_values(name: str) -> None:
    learner = trained(name, Probe, num_envs=2, length=2, reward=0.0, last=1.0)
    assert near(GAMMA, 1.0) == values(name, learner, 0, 1)


# What is best to do.


def greedy(learner: Any, space: str, *states: float) -> list[bool]:
    """Whether the second action, or a positive one, is chosen."""
    actions, _ = learner.predict(np.array(states, np.float32)[:, None])
    return [bool(a > (0 if space == "continuous" else 0.5)) for a in np.ravel(actions)]


@pytest.mark.parametrize(("name", "space"), SPACES)
def test_the_action_that_pays_is_found(name: str, space: str) -> None:
    assert [True] == greedy(trained(name, Signs, space, pays="action"), space, 1)


@pytest.mark.parametrize(("name", "space"), SPACES)
def test_the_action_that_pays_where_it_is_found(name: str, space: str) -> None:
    assert [False, True] == greedy(trained(name, Signs, space), space, -1, 1)


# What is a transition.


@pytest.mark.parametrize("name", OURS)
def test_a_reset_is_never_a_transition(name: str) -> None:
    source = Environment(Probe, kwargs={"length": 3}, num_envs=2, name="probe")
    stream = environment_stream(source, budget=96)
    learner = prepared(LEARNERS[name].make(), stream)
    events = learn_all(learner, stream)
    # The state that ended an episode is never acted in, and each of the others is as often as the others.
    states, counts = np.unique(learner.recent_observations(), return_counts=True)
    assert [0, 1, 2] == states.tolist()
    assert np.ptp(counts) <= 2
    assert (3.0, 3.0) == (events[-1].values["episode_length"], events[-1].values["episode_return"])


# The same again.


@frozen
class Run:
    """A stream with its encoder, for what must be equal bit for bit."""

    stream: Callable[[], Stream]
    encoder: Callable[[], Encoder] = Identity


RUNS: Mapping[str, Run] = {
    "native": Run(lambda: cartpoles(64, num_envs=2, vectorization="native")),
    "sync": Run(lambda: cartpoles(64, num_envs=2), RunningNorm),
    "async": Run(lambda: cartpoles(64, num_envs=2, vectorization="async"), RunningNorm),
    "running standardize": Run(
        lambda: cartpoles(64, num_envs=2), lambda: Compose((Flatten(), Standardize(fit_on="running")))
    ),
    "continuous": Run(lambda: pendulums(64, num_envs=2), RunningNorm),
    "hidden boundaries": Run(lambda: cartpoles(64, num_envs=2, vectorization="native", boundaries="hidden")),
    "masks": Run(lambda: environment_stream(Environment(Forbidding, kwargs={"lenient": True}, name="f"), budget=40)),
    "probe": Run(lambda: environment_stream(Environment(Probe, kwargs={"length": 5}, name="probe"), budget=64)),
}
PAIRS = [(name, run) for name in OURS for run in RUNS]


def start(name: str, run: str, seed: int = 0) -> Any:
    case = RUNS[run]
    learner = LEARNERS[name].make(schedule=Linear(), schedule_over="stream")
    return prepared(learner, case.stream(), encoder=case.encoder(), seed=seed, event_interval=20)


@pytest.mark.parametrize(("name", "run"), PAIRS)
def test_the_same_seed_gives_the_same_bits(name: str, run: str) -> None:
    runs = []
    for _ in range(2):
        learner = start(name, run)
        events = learn_all(learner, RUNS[run].stream())
        runs.append([without_rates(events), snapshot(learner)])
    assert [] == differences(runs[0], runs[1])


@pytest.mark.parametrize(("name", "run"), PAIRS)
def test_stopped_after_any_update_and_resumed_it_ends_with_the_same_bits(name: str, run: str) -> None:
    stream = RUNS[run].stream()
    through = start(name, run)
    states, expected = [snapshot(through)], []
    for event in learning(through, stream):
        expected.append(event)
        states.append(snapshot(through))
    assert len(states) > 4
    for place, state in enumerate(states):
        fresh = start(name, run, seed=7)
        restore(fresh, state)
        left = learn_all(fresh, stream)
        assert without_rates([e for e in expected[place:] if e is not None]) == without_rates(left), place
        assert [] == differences(states[-1], snapshot(fresh)), place


@pytest.mark.parametrize("name", OURS)
def test_environments_in_processes_lead_to_the_same_bits(name: str) -> None:
    runs = []
    for run in ("sync", "async"):
        learner = start(name, run)
        runs.append([without_rates(learn_all(learner, RUNS[run].stream())), snapshot(learner)])
    assert [] == differences(runs[0], runs[1])


@pytest.mark.parametrize("name", OURS)
def test_a_loaded_state_that_is_saved_again_is_the_same(name: str) -> None:
    first, fresh = start(name, "native"), start(name, "native", seed=7)
    next(learning(first, RUNS["native"].stream()))
    state = snapshot(first)
    restore(fresh, state)
    assert [] == differences(state, snapshot(fresh))


@pytest.mark.parametrize("name", OURS)
def test_another_seed_gives_other_weights_and_actions(name: str) -> None:
    runs = [start(name, "native", seed) for seed in (0, 1)]
    assert [] != differences(*(weights(learner) for learner in runs))
    for learner in runs:
        learn_all(learner, RUNS["native"].stream())
    assert [] != differences(*(learner.recent_observations() for learner in runs))


@pytest.mark.parametrize("name", OURS)
def test_episodes_that_cannot_be_saved_are_started_anew_and_this_is_said_once(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = Environment(Probe, kwargs={"length": 100, "savable": False}, num_envs=2, name="probe")
    stream = environment_stream(source, budget=96)
    first = prepared(LEARNERS[name].make(), stream)
    next(learning(first, stream))
    fresh = prepared(LEARNERS[name].make(), stream)
    restore(fresh, snapshot(first))
    with caplog.at_level(logging.WARNING):
        learn_all(fresh, stream)
    assert 1 == caplog.text.count(
        "environment probe cannot be saved in the middle of an episode: the 2 episodes in progress"
    )
    assert fresh.position.step >= 96


# What does not go together is said.


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("unit", ["epochs", "updates", "samples", "episodes"])
def test_a_budget_in_another_unit_is_refused(name: str, unit: str) -> None:
    stream = cartpoles(64)
    budget = Budget(**{unit: 5})
    other = attrs.evolve(stream, experiences=tuple(attrs.evolve(e, budget=budget) for e in stream))
    with pytest.raises(UnsupportedError, match=rf"budget\.{unit}: .*env_steps"):
        prepared(LEARNERS[name].make(), other)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("broken", ["reward", "observation"])
@pytest.mark.parametrize("space", ["discrete", "continuous"])
def test_values_that_are_not_finite_end_in_a_clear_error(name: str, broken: str, space: str) -> None:
    if space not in LEARNERS[name].spaces:
        pytest.skip("it takes no such actions")
    source = Environment(Probe, kwargs={"broken": broken, "continuous": space == "continuous", "length": 9})
    stream = environment_stream(attrs.evolve(source, name="probe"), budget=200)
    learner = prepared(LEARNERS[name].make(), stream, event_interval=1)
    with pytest.raises(
        DivergenceError, match=rf"environment probe returned {broken}s that are not finite: nan .*; fix the environment"
    ):
        learn_all(learner, stream)


@pytest.mark.parametrize("name", OURS)
def test_a_method_is_told_where_experiences_end(name: str) -> None:
    stream = cartpoles(64, num_envs=2, vectorization="native")
    through, plain = (prepared(LEARNERS[name].make(*m), stream) for m in ((Ewc(strength=1e3),), ()))
    for learner in (through, plain):
        learn_all(learner, stream)
    assert [] != differences(weights(plain), weights(through))


def steps_of(learner: Any, stream: Stream) -> Iterator[int]:
    for _ in learning(learner, stream):
        yield learner.position.step


@pytest.mark.parametrize("name", OURS)
def test_a_budget_is_rounded_up_to_whole_updates(name: str) -> None:
    stream = cartpoles(17, num_envs=2, tasks=1, vectorization="native")
    learner = prepared(LEARNERS[name].make(), stream)
    steps = list(steps_of(learner, stream))
    assert learner.steps(stream[0]) == steps[-1]
    assert 17 <= steps[-1] < 17 + learner.steps_per_round
