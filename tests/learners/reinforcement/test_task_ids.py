"""Task ids of policies: heads, one-hot encodings, gates, packed weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from harness import (
    cartpoles,
    differences,
    dqn,
    learn_all,
    learn_one,
    learning,
    pendulums,
    ppo,
    prepared,
    restore,
    sac,
    sb3,
    snapshot,
    td3,
)
from torch import Tensor

from rlcl.encoders.compose import Compose
from rlcl.encoders.running_norm import RunningNorm
from rlcl.encoders.task_one_hot import TaskOneHot
from rlcl.errors import UnsupportedError
from rlcl.learners.reinforcement.recurrent import Recurrent
from rlcl.methods.packnet import PackNet
from rlcl.methods.xdg import Xdg
from rlcl.networks.mlp import Mlp
from rlcl.networks.multihead import Multihead
from rlcl.streams.stream import Stream
from rlcl.types import BoundaryPolicy, Visibility

HEADS = Multihead(body=Mlp(hidden=(8,)), features=8)
SMALL = {"network": Mlp(hidden=(8,))}
OFF_POLICY = {"learning_starts": 8, "batch_size": 8, "capacity": 400, "train_every": 4}
CASES: dict[str, tuple[Callable[..., Any], dict[str, Any], Callable[..., Stream]]] = {
    "ppo": (ppo, {"n_steps": 16, "batch_size": 8, "epochs": 2}, cartpoles),
    "ppo shared": (ppo, {"n_steps": 16, "batch_size": 8, "epochs": 2, "shared": True}, cartpoles),
    "ppo continuous": (ppo, {"n_steps": 16, "batch_size": 8, "epochs": 2}, pendulums),
    "dqn": (dqn, OFF_POLICY, cartpoles),
    "dqn double dueling": (dqn, {**OFF_POLICY, "double": True, "dueling": True}, cartpoles),
    "sac": (sac, OFF_POLICY, pendulums),
    "td3": (td3, OFF_POLICY, pendulums),
}
every = pytest.mark.parametrize("case", CASES)


def visible(stream: Stream) -> Stream:
    """The stream with task ids, which it shows."""
    experiences = tuple(attrs.evolve(e, task_id=e.index) for e in stream)
    return attrs.evolve(stream, experiences=experiences, visibility=Visibility(task_ids="visible"))


def made(case: str, *methods: Any, budget: int = 64, encoder: Any = None, **settings: Any) -> tuple[Any, Stream]:
    make, defaults, tasks = CASES[case]
    stream = visible(tasks(budget))
    return prepared(make(*methods, **{**SMALL, **defaults, **settings}), stream, encoder=encoder), stream


def observations(stream: Stream, rows: int = 16) -> Any:
    return stream[0].environment.random_observations(rows)


def heads(learner: Any) -> list[list[Tensor]]:
    """The weights of the heads of all networks, by task."""
    modules = [m for network in learner.modules.values() for m in network.modules() if hasattr(m, "heads")]
    return [[p.detach().clone() for m in modules for p in m.heads[task].parameters()] for task in range(2)]


def equal(expected: list[Tensor], actual: list[Tensor]) -> bool:
    return all(map(torch.equal, expected, actual))


@every
def test_a_task_trains_its_own_heads_and_acts_with_them(case: str) -> None:
    learner, stream = made(case, network=HEADS)
    initial = heads(learner)
    learn_one(learner, stream)
    first = heads(learner)
    assert not equal(initial[0], first[0])
    if case.startswith("ppo"):  # a replay buffer holds transitions of both tasks later on
        assert equal(initial[1], first[1])
    learn_one(learner, stream)
    assert not equal(first[1], heads(learner)[1])
    if case.startswith("ppo"):
        assert equal(first[0], heads(learner)[0])
    x = torch.from_numpy(observations(stream)).float()
    outputs = [learner.outputs(x, torch.full((len(x),), task)) for task in range(2)]
    assert not torch.equal(*outputs)


@every
def test_a_run_is_resumed_within_an_experience(case: str) -> None:
    through, stream = made_encoded(case)
    half, _ = made_encoded(case)
    learn_all(through, stream)
    learn_one(half, stream)
    for _, _ in zip(range(2), learning(half, stream), strict=False):
        state = snapshot(half)
    resumed, _ = made_encoded(case)
    restore(resumed, state)
    learn_all(resumed, stream)
    assert [] == differences(snapshot(through), snapshot(resumed))


def made_encoded(case: str) -> tuple[Any, Stream]:
    make, defaults, tasks = CASES[case]
    stream = visible(tasks(64))
    encoder = Compose(encoders=(TaskOneHot(), RunningNorm()))
    encoder.adapt(stream)
    return prepared(make(**{**SMALL, **defaults, "network": HEADS}), stream, encoder=encoder), stream


def test_a_network_with_heads_needs_visible_ids() -> None:
    stream = cartpoles(64)
    with pytest.raises(
        UnsupportedError, match=r"multihead selects a head .* set stream\.visibility\.task_ids: visible"
    ):
        prepared(dqn(network=HEADS), stream)
    with pytest.raises(UnsupportedError, match="recurrent does not support networks that select a head"):
        prepared(ppo(network=HEADS, recurrent=Recurrent()), visible(stream))


@pytest.mark.parametrize("case", ["dqn", "sac", "td3"])
def test_a_transition_keeps_its_task_id(case: str) -> None:
    learner, stream = made_encoded(case)
    learn_all(learner, stream)
    indices = np.flatnonzero(learner.buffer.valid)
    stored = learner.buffer.at(indices, 0.99)
    assert {0, 1} == set(stored.task_ids.tolist())
    assert 64 == int((stored.task_ids == 0).sum()) == int((stored.task_ids == 1).sum())
    batch = learner._sample_batch(FixedCollector(learner), 32, 1.0)[1]
    assert torch.equal(batch.task_ids, batch.observations[:, -2:].argmax(1))
    assert torch.equal(batch.task_ids, batch.next_observations[:, -2:].argmax(1))


class FixedCollector:
    """A collector that encodes as in training; the current task is 1."""

    task_id = 1

    def __init__(self, learner: Any) -> None:
        self._encoder = learner._setup.encoder.encoders[0]

    def encode(self, rows: Any, task_ids: Any = None) -> Any:
        ids = self.task_id if task_ids is None else torch.from_numpy(task_ids)
        return self._encoder.encode(torch.from_numpy(rows), ids).numpy()


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_sb3_encodes_the_task(algorithm: str) -> None:
    stream = visible(cartpoles(64))
    encoder = TaskOneHot()
    encoder.adapt(stream)
    options = {"n_steps": 16, "batch_size": 8} if algorithm == "PPO" else {"learning_starts": 8, "batch_size": 8}
    learner = prepared(sb3(algorithm, **options), stream, encoder=encoder)
    learn_all(learner, stream)
    if algorithm == "DQN":
        stored = learner.model.replay_buffer.observations[:128, 0, -2:]
        assert np.array_equal(stored, np.repeat(np.eye(2, dtype=np.float32), 64, 0))
    x = observations(stream)
    actions = [learner.predict(x, task)[0] for task in range(2)]
    assert actions[0].shape == actions[1].shape == (16,)
    with pytest.raises(UnsupportedError, match="needs the task id"):
        learner.predict(x)


@every
def test_gates_close_units_of_the_acting_network_and_of_its_target(case: str) -> None:
    learner, stream = made(case, Xdg(share=0.5), network=Mlp(hidden=(8, 8)))
    primary = learner.modules[learner.host.primary]
    actor = getattr(primary, "actor", primary)
    before = {name: p.detach().clone() for name, p in actor.named_parameters()}
    learn_one(learner, stream)
    first_layer = next(name for name in before if name.endswith("weight"))
    changed = (dict(actor.named_parameters())[first_layer] != before[first_layer]).any(1)
    closed = learner.methods[0]._gates.of(0, 8, torch.zeros(1, dtype=torch.int64))[0] == 0
    assert 4 == int(closed.sum())
    assert changed.any()
    assert not changed[closed].any()
    for target in learner.followers:
        target.load_state_dict(primary.state_dict())
        x = torch.randn(5, *learner._setup.encoder.shape(stream[0].environment.spaces()[0].shape))
        for task in range(2):
            ids = torch.full((5,), task)
            assert torch.equal(primary(x, ids), target(x, ids))
    x = torch.from_numpy(observations(stream)).float()
    assert not torch.equal(*(learner.outputs(x, torch.full((len(x),), task)) for task in range(2)))


@every
@pytest.mark.parametrize("normalized", [False, True])
def test_packnet_keeps_what_a_task_does(case: str, normalized: bool) -> None:
    encoder = RunningNorm(rewards=False) if normalized else None
    learner, stream = made(case, PackNet(), network=HEADS, encoder=encoder)
    x = observations(stream, 32)
    learn_one(learner, stream)

    def outputs(task: int) -> Tensor:
        encoded = learner._setup.encoder.encode(torch.from_numpy(x), task)
        with learner._attached.predicting[0].predicting(task):
            return learner.outputs(encoded, torch.full((len(x),), task)).detach().clone()

    before, actions = outputs(0), learner.predict(x, 0)[0].copy()
    other = learner.predict(x, 1)[0]
    learn_one(learner, stream)
    assert torch.equal(before, outputs(0))
    np.testing.assert_array_equal(actions, learner.predict(x, 0)[0])
    assert 0 < learner._attached.quantities()["packnet/free_weights"] < 0.6
    if actions.dtype.kind == "f":
        assert not np.array_equal(other, learner.predict(x, 1)[0])


def test_packnet_refuses_an_encoder_that_is_fitted_anew() -> None:
    stream = visible(cartpoles(64))
    with pytest.raises(UnsupportedError, match=r"boundary\.encoder: refit .* packnet holds"):
        prepared(ppo(PackNet()), stream, encoder=RunningNorm(), boundary=BoundaryPolicy(encoder="refit"))


@every
def test_the_planned_updates_are_those_that_happen(case: str) -> None:
    learner, stream = made(case, budget=70)
    counted = 0
    for experience in stream:
        planned = learner.planned_updates(experience)
        learn_one(learner, stream)
        assert planned == learner.costs().updates - counted
        counted = learner.costs().updates


@pytest.mark.parametrize("method", [PackNet(), Xdg()])
def test_a_policy_that_depends_on_the_task_is_not_exported(method: Any) -> None:
    learner, _ = made("ppo", method)
    with pytest.raises(UnsupportedError, match="its actions depend on the task id"):
        learner.graph(0)
