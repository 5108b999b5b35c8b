"""Conformance of every registered reinforcement learner, for each of its settings and each kind of environment.

Learners are found in the registry, and settings in their classes. A new setting needs a value in ``VALUES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import attrs
import numpy as np
import pytest
from attrs import frozen
from harness import (
    SMALL,
    cartpoles,
    differences,
    environment_stream,
    learn_all,
    learning,
    of_learner,
    pendulums,
    prepared,
    restore,
    snapshot,
    weights,
    without_methods,
    without_rates,
)
from probes import Forbidding, Probe

from rlcl.data.sources import Environment
from rlcl.encoders.compose import Compose
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.frame_stack import FrameStack
from rlcl.encoders.identity import Identity
from rlcl.encoders.running_norm import RunningNorm
from rlcl.encoders.standardize import Standardize
from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Adam, RmsProp
from rlcl.learners.reinforcement.dqn import Exploration
from rlcl.learners.reinforcement.priorities import Prioritised
from rlcl.learners.reinforcement.recurrent import Recurrent
from rlcl.learners.schedules import Linear
from rlcl.networks.mlp import Mlp
from rlcl.registry import entries, find
from rlcl.streams.stream import Stream
from rlcl.types import Encoder, Method

# A size for tests, of every learner that has the setting.
SIZES: Mapping[str, Any] = {
    "network": Mlp(hidden=(8,)),
    "optimizer": Adam(lr=0.01),
    "n_steps": 8,
    "batch_size": 8,
    "epochs": 2,
    "capacity": 60,
    "learning_starts": 5,
    "train_every": 2,
    "target_interval": 10,
}

# Another value of each setting, beside those of SIZES.
VALUES: Mapping[str, tuple[Any, ...]] = {
    "action_masks": (False,),
    "batch_size": (5, None),
    "capacity": (16,),
    "clip": (None,),
    "clip_norm": (None, 0.1),
    "clip_schedule": (True,),
    "double": (True,),
    "dueling": (True,),
    "entropy": (0.1,),
    "entropy_weight": (0.1,),
    "epochs": (1,),
    "exploration": (Exploration(start=0.5, end=0.1, share=0.5),),
    "gae_lambda": (0.5,),
    "gamma": (0.5,),
    "gradient_steps": (3, -1),
    "learning_starts": (0, 40),
    "log_std": (-1.0,),
    "n_step": (3,),
    "n_steps": (5,),
    "network": (Mlp(hidden=()), Mlp(hidden=(8,), dropout=0.5)),
    "noise": (0.5,),
    "normalize_advantages": (False,),
    "optimizer": (RmsProp(),),
    "policy_delay": (3,),
    "prioritised": (Prioritised(),),
    "random_steps": (0, 20),
    "recurrent": (Recurrent(size=4),),
    "schedule": (Linear(),),
    "schedule_over": ("stream",),
    "shared": (True,),
    "smoothing": (0.5,),
    "smoothing_clip": (0.1,),
    "target_entropy": (-0.5,),
    "target_interval": (3,),
    "target_kl": (1e-6,),
    "tau": (0.5,),
    "temperature": (0.1,),
    "train_every": (5,),
    "value_weight": (1.0,),
}
ELSEWHERE = {"methods", "algorithm", "policy", "options"}  # of another library, and what has a suite of its own
REQUIRED: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "sb3": {
        name: {"algorithm": name, "options": {"policy_kwargs": {"net_arch": [8]}, **SMALL[name]}}
        for name in ("PPO", "DQN", "SAC")
    }
}


@frozen
class World:
    """A stream of two experiences with its encoder."""

    stream: Callable[[], Stream]
    encoder: Callable[[], Encoder] = Identity


WORLDS: Mapping[str, World] = {
    "discrete": World(lambda: cartpoles(32, num_envs=2)),
    "continuous": World(lambda: pendulums(32, num_envs=2)),
    "native": World(lambda: cartpoles(32, num_envs=2, vectorization="native")),
    "async": World(lambda: cartpoles(32, num_envs=2, vectorization="async")),
    "one environment": World(lambda: cartpoles(24)),
    "hidden boundaries": World(lambda: cartpoles(32, num_envs=2, vectorization="native", boundaries="hidden")),
    "masks": World(
        lambda: environment_stream(*[Environment(Forbidding, kwargs={"lenient": True}, name="f")] * 2, budget=24)
    ),
    "running_norm": World(lambda: cartpoles(32, num_envs=2), RunningNorm),
    "continuous running_norm": World(lambda: pendulums(32, num_envs=2), RunningNorm),
    "frame_stack": World(lambda: cartpoles(32, num_envs=2), FrameStack),
    "running standardize": World(
        lambda: cartpoles(32, num_envs=2), lambda: Compose((Flatten(), Standardize(fit_on="running")))
    ),
}


def registered() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every learner that acts in environments, or every algorithm of a library's, with what makes it small."""
    for name in sorted(entries("learner")):
        cls: Any = find("learner", name)
        if "environment" not in cls.needs:
            continue
        known = {field.name for field in attrs.fields(cls) if field.init}
        sizes = {key: value for key, value in SIZES.items() if key in known}
        for label, required in REQUIRED.get(name, {"": {}}).items():
            settings = required or sizes
            yield (f"{name} {label}".strip(), lambda cls=cls, settings=settings, **more: cls(**{**settings, **more}))


LEARNERS = dict(registered())


@cache
def takes(name: str, world: str) -> bool:
    """Whether a learner does not refuse the world."""
    try:
        start(name, world)
    except UnsupportedError:
        return False
    return True


def start(name: str, world: str, seed: int = 0, **settings: Any) -> Any:
    case = WORLDS[world]
    return prepared(LEARNERS[name](**settings), case.stream(), encoder=case.encoder(), seed=seed, event_interval=20)


def settings_of(name: str) -> list[str]:
    return [f.name for f in attrs.fields(type(LEARNERS[name]())) if f.init and f.name not in ELSEWHERE]


IN_WORLDS = [(name, world) for name in LEARNERS for world in WORLDS if takes(name, world)]
OPTIONS = [
    pytest.param(name, key, value, id=f"{name} {key} {i}")
    for name in LEARNERS
    for key in settings_of(name)
    for i, value in enumerate(VALUES.get(key, ()))
    if value is not None or "None" in str(getattr(attrs.fields(type(LEARNERS[name]())), key).type)
]


def world_of(name: str) -> str:
    return "discrete" if takes(name, "discrete") else "continuous"


def test_learners_that_act_are_found() -> None:
    assert {"ppo", "dqn", "sac", "td3", "sb3 PPO", "sb3 SAC"} <= set(LEARNERS)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_setting_has_a_value_here(name: str) -> None:
    assert [] == [key for key in settings_of(name) if key not in VALUES]


def resumes(name: str, world: str, **settings: Any) -> None:
    """Holds a run that is stopped in the middle and resumed to the one that runs through."""
    stream = WORLDS[world].stream()
    through = start(name, world, **settings)
    first, states, expected = weights(through), [snapshot(through)], []
    for event in learning(through, stream):
        expected.append(event)
        saved = through.resumable_within or not through.position.learning
        states.append(snapshot(through) if saved else None)
    assert [] != differences(first, weights(through))  # it has learned
    saves = [i for i, state in enumerate(states[1:-1], start=1) if state is not None] or [0]  # one experience
    place = saves[len(saves) // 2]
    fresh = start(name, world, seed=7, **settings)
    restore(fresh, states[place])
    assert [] == differences(states[place], snapshot(fresh))
    left = learn_all(fresh, stream)
    assert without_rates([e for e in expected[place:] if e is not None]) == without_rates(left)
    assert [] == differences(states[-1], snapshot(fresh))


@pytest.mark.parametrize(("name", "world"), IN_WORLDS)
def test_stopped_and_resumed_in_a_world_it_ends_with_the_same_bits(name: str, world: str) -> None:
    resumes(name, world)


@pytest.mark.parametrize(("name", "key", "value"), OPTIONS)
def test_stopped_and_resumed_under_a_setting_it_ends_with_the_same_bits(name: str, key: str, value: Any) -> None:
    resumes(name, world_of(name), **{key: value})


@pytest.mark.parametrize("name", [name for name in LEARNERS if takes(name, "discrete")])
def test_environments_in_processes_lead_to_the_same_bits(name: str) -> None:
    runs = []
    for world in ("discrete", "async"):
        learner = start(name, world)
        runs.append([without_rates(learn_all(learner, WORLDS[world].stream())), weights(learner)])
    assert [] == differences(runs[0], runs[1])


def in_episodes(name: str, end: str) -> Any:
    """Weights after episodes of three steps that end so."""
    kwargs = {"length": 3, "end": end, "continuous": world_of(name) == "continuous"}
    stream = environment_stream(Environment(Probe, kwargs=kwargs, num_envs=2, seed=1, name="probe"), budget=64)
    learner = prepared(LEARNERS[name](), stream)
    learn_all(learner, stream)
    return weights(learner)


@pytest.mark.parametrize("name", LEARNERS)
def test_an_end_and_a_cut_are_learned_from_differently(name: str) -> None:
    over, cut, both = (in_episodes(name, end) for end in ("terminated", "truncated", "both"))
    assert [] != differences(over, cut)
    assert [] == differences(over, both)


@pytest.mark.parametrize("name", LEARNERS)
def test_all_methods_at_their_null_settings_leave_it_as_it_is(name: str) -> None:
    world = world_of(name)
    used = tuple(null for null in nulls() if serves(null, name))
    assert used
    runs = []
    for methods in ((), used):
        learner = start(name, world, methods=methods)
        events = learn_all(learner, WORLDS[world].stream())
        runs.append((of_learner(events), without_methods(learner.state_dict())))
    assert [] == differences(runs[0], runs[1])


def nulls() -> Iterator[Method]:
    for name in sorted(entries("method")):
        cls: Any = find("method", name)
        if cls.null is not None:
            sizes = {"capacity": 20, "samples": 10, "batch_size": 8, "per_experience": 10}
            known = [field.name for field in attrs.fields(cls) if field.name in sizes]
            if "capacity" in known and "per_experience" in known:
                known.remove("per_experience")
            yield cls(**{**{key: sizes[key] for key in known}, **cls.null})


def serves(method: Method, name: str) -> bool:
    try:
        start(name, world_of(name), methods=(method,))
    except UnsupportedError:
        return False
    return True


@pytest.mark.parametrize("name", LEARNERS)
def test_predictions_before_any_training_are_actions(name: str) -> None:
    learner = start(name, world_of(name))
    source: Any = WORLDS[world_of(name)].stream()[0].train
    x, space = source.random_observations(3), source.spaces()[1]
    actions, _ = learner.predict(x)
    assert (3, *space.shape) == np.asarray(actions).shape
    assert all(space.contains(np.asarray(action, space.dtype)) for action in actions)
