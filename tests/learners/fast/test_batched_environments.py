"""Several collectors, generators, memories and rollouts as one, each held to what it is alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import differences

from rlcl.data.sources import Environment
from rlcl.encoders.identity import Identity
from rlcl.encoders.running_norm import RunningNorm
from rlcl.learners.fast.batched_dqn import join_buffers
from rlcl.learners.fast.batched_environments import BatchedCollector, BatchedGenerators
from rlcl.learners.fast.batched_ppo import split_rollout
from rlcl.learners.reinforcement.collector import Collector
from rlcl.learners.reinforcement.replay import ReplayBuffer
from rlcl.learners.reinforcement.rollout import collect_rollout

KINDS = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1")


def collector(seed: int, env: str = "CartPole-v1", encoder: Any = None, vectorization: Any = "native") -> Collector:
    source = Environment(f"rlcl_envs/{env}", num_envs=2, vectorization=vectorization, seed=seed, name=env)
    return Collector(source, encoder or Identity())


@pytest.mark.parametrize("env", KINDS)
def test_environments_step_together_as_they_step_alone(env: str) -> None:
    alone, parts = ([collector(seed, env) for seed in (3, 30, 300)] for _ in range(2))
    space, rng = alone[0].vector.single_action_space, np.random.default_rng(0)
    whole = BatchedCollector.of(parts)
    assert whole is not None
    for _ in range(3):  # handed over and back
        with whole.synchronized() as collectors:
            for _ in range(40):
                count = (6, *space.shape)  # type: ignore[misc]
                actions = rng.integers(2, size=count) if env != KINDS[3] and env != KINDS[4] else rng.random(count)
                actions = actions.astype(np.float32 if space.shape else np.int64)
                found = collectors.step(actions)
                for i, one in enumerate(alone):
                    rows = slice(2 * i, 2 * i + 2)
                    expected = one.step(actions[rows])
                    for name in ("next_observations", "rewards", "terminated", "ended"):
                        assert np.array_equal(getattr(expected, name), getattr(found, name)[rows])
                    assert np.array_equal(one.observations, collectors.observations[rows])
        for one, part in zip(alone, parts, strict=True):
            assert [] == differences(one.state_dict(), part.state_dict())
            assert one.values() == part.values()
            assert one.fresh is part.fresh is False


def test_physics_are_those_of_each() -> None:
    alone, parts = ([collector(seed) for seed in (3, 30)] for _ in range(2))
    for each in (alone, parts):
        each[1].vector.unwrapped.set_physics(gravity=40)  # type: ignore[attr-defined]
    whole = BatchedCollector.of(parts)
    assert whole is not None
    with whole.synchronized() as collectors:
        for _ in range(20):
            collectors.step(np.ones(4, np.int64))
            for i, one in enumerate(alone):
                one.step(np.ones(2, np.int64))
                assert np.array_equal(one.observations, collectors.observations[2 * i : 2 * i + 2])


def test_what_must_step_alone_does() -> None:
    assert BatchedCollector.of([collector(0, vectorization="sync"), collector(1, vectorization="sync")]) is None
    assert BatchedCollector.of([collector(0, encoder=RunningNorm()), collector(1, encoder=RunningNorm())]) is None


@pytest.mark.parametrize(
    "draw",
    [
        lambda g, n: g.random(n),
        lambda g, n: g.integers(5, size=n),
        lambda g, n: g.gumbel(size=(n, 3)),
        lambda g, n: g.standard_normal((n, 2), dtype=np.float32),
    ],
)
def test_each_generator_draws_as_it_does_alone(draw: Any) -> None:
    alone, parts = ([np.random.default_rng(seed) for seed in range(3)] for _ in range(2))
    together = BatchedGenerators(parts)
    for _ in range(2):
        assert np.array_equal(np.concatenate([draw(g, 4) for g in alone]), draw(together, 12))


def test_a_rollout_of_several_parts_into_those_of_each() -> None:
    alone, parts = ([collector(seed, "MountainCar-v0") for seed in (3, 30)] for _ in range(2))

    def act(one: Any, rows: int) -> Any:
        return collect_rollout(
            one, np.zeros((250, rows, 2), np.float32), lambda x, _: np.zeros(len(x), np.int64), np.copy
        )

    expected = [act(one, 2) for one in alone]  # an episode is cut off after 200 steps
    whole = BatchedCollector.of(parts)
    assert whole is not None
    with whole.synchronized() as collectors:
        found = split_rollout(act(collectors, 4), 2)
    for one, its in zip(expected, found, strict=True):
        assert 2 == len(one.cut)
        for name in ("observations", "actions", "rewards", "terminated", "ended", "last", "cut", "states"):
            assert np.array_equal(getattr(one, name), getattr(its, name)), name
        for a, b in zip(one.indices, its.indices, strict=True):
            assert np.array_equal(a, b)


def test_joined_memories_are_views_of_one() -> None:
    buffers = [ReplayBuffer(10, 2, (1,), np.float32, (), np.int64) for _ in range(2)]

    def added(buffer: ReplayBuffer, rows: int, value: float) -> None:
        ended = np.arange(rows) % 2 == 0
        column = np.full((rows, 1), value, np.float32)
        buffer.add(column, np.zeros(rows, np.int64), np.full(rows, value), column + 1, ended, ended)

    added(buffers[1], 2, 7.0)
    before = buffers[1].state_dict()
    whole = join_buffers(buffers)
    assert [] == differences(before, buffers[1].state_dict())
    added(whole, 4, 8.0)
    assert [2, 4] == [len(buffer) for buffer in buffers]
    assert {8.0} == set(buffers[0].at(np.flatnonzero(buffers[0].valid), 0.9).rewards.tolist())
    assert {7.0, 8.0} == set(buffers[1].at(np.flatnonzero(buffers[1].valid), 0.9).rewards.tolist())
    indices = buffers[0].sample_indices(50, np.random.default_rng(0))
    assert buffers[0].valid[indices].all()
