"""What learners keep at a boundary, and what they do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from attrs import frozen
from harness import (
    autoencoder,
    avalanche,
    cartpoles,
    classifier,
    differences,
    digit_stream,
    learn_all,
    learn_one,
    learning,
    pendulums,
    prepared,
    restore,
    sb3,
    snapshot,
)

from rlcl.data.sources import Data
from rlcl.encoders.compose import Compose
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.identity import Identity
from rlcl.encoders.pca import Pca
from rlcl.encoders.running_norm import RunningNorm
from rlcl.encoders.scale import Scale
from rlcl.encoders.standardize import Standardize
from rlcl.errors import UnsupportedError
from rlcl.evaluation.plan import Plan
from rlcl.learners.optimizers import Sgd
from rlcl.learners.supervised.gdumb import GDumb
from rlcl.learners.supervised.icarl import ICarl
from rlcl.learners.supervised.nearest_mean import NearestMean
from rlcl.methods.a_gem import AGem
from rlcl.methods.der import DerPlusPlus
from rlcl.methods.distill import Distill
from rlcl.methods.ewc import Ewc
from rlcl.methods.gem import Gem
from rlcl.methods.mir import Mir
from rlcl.methods.rehearsal import Rehearsal
from rlcl.networks.mlp import Mlp
from rlcl.streams.stream import Stream
from rlcl.training.trainer import Trainer
from rlcl.types import BoundaryPolicy, Budget, DataSet, Encoder, Position


def begun(learner: Any, stream: Stream) -> None:
    """One experience, and the first update (rollout) of the next."""
    learn_one(learner, stream)
    next(learning(learner, stream))


# --- optimizers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "steps"), [("keep", 9), ("reset", 1)])
def test_adams_count_and_moments_start_anew(policy: Any, steps: int) -> None:
    stream = digit_stream(2, budget=Budget(updates=8))
    learner = prepared(classifier(), stream, encoder=Scale(), boundary=BoundaryPolicy(optimizer=policy))
    begun(learner, stream)
    for parameter, state in learner.optimizers["network"].state.items():
        assert steps == int(state["step"])
        one_step = torch.allclose(state["exp_avg"], 0.1 * parameter.grad, atol=1e-8)
        assert (policy == "reset") == one_step


def test_an_optimizer_without_moments_has_nothing_to_forget() -> None:
    ends = []
    for policy in (BoundaryPolicy(), BoundaryPolicy(optimizer="reset")):
        learner = prepared(classifier(optimizer=Sgd(lr=0.01)), digit_stream(2), boundary=policy)
        learn_all(learner, digit_stream(2))
        ends.append(snapshot(learner))
    assert [] == differences(ends[0], ends[1])


@pytest.mark.parametrize("algorithm", ["PPO", "DQN", "SAC"])
def test_every_optimizer_of_an_algorithm_starts_anew(algorithm: str) -> None:
    stream = pendulums(64) if algorithm == "SAC" else cartpoles(64)
    learner = prepared(sb3(algorithm), stream, boundary=BoundaryPolicy(optimizer="reset"))
    learn_one(learner, stream)
    found = {name: value for name, value in learner.model.get_parameters().items() if name.endswith("optimizer")}
    assert (3 if algorithm == "SAC" else 1) == len(found)
    assert all(value["state"] for value in found.values())
    learner._boundary.cross()
    found = {name: value for name, value in learner.model.get_parameters().items() if name.endswith("optimizer")}
    assert not any(value["state"] for value in found.values())


def test_an_algorithm_crosses_the_boundary_before_its_second_experience_alone() -> None:
    stream = cartpoles(32)  # one rollout of 32, two epochs of two minibatches: four steps an experience
    for policy, steps in (("keep", 8), ("reset", 4)):
        learner = prepared(sb3("PPO"), stream, boundary=BoundaryPolicy(optimizer=policy))  # type: ignore[arg-type]
        learn_all(learner, stream)
        assert {steps} == {int(state["step"]) for state in learner.model.policy.optimizer.state.values()}


def test_the_optimizer_of_a_strategy_starts_anew() -> None:
    stream = digit_stream(2, budget=Budget(epochs=1))  # 26 images an experience: four updates
    for policy, steps in (("keep", 8), ("reset", 4)):
        learner = prepared(avalanche(), stream, boundary=BoundaryPolicy(optimizer=policy))  # type: ignore[arg-type]
        learn_all(learner, stream)
        (optimizer,) = learner.host.optimizers.values()
        assert {steps} == {int(state["step"]) for state in optimizer.state.values()}


# --- memories -------------------------------------------------------------------------------------


MEMORIES: Mapping[str, Callable[[], Any]] = {
    "reservoir": lambda: Rehearsal(capacity=9, batch_size=4),
    "class_balanced": lambda: Rehearsal(capacity=9, memory="class_balanced", batch_size=4),
    "bytes": lambda: Rehearsal(capacity_bytes=9 * 64 * 5, batch_size=4),
    "ring": lambda: Rehearsal(per_class=4, memory="ring", batch_size=4),
    "gss": lambda: Rehearsal(capacity=9, memory="gss", compared=3, batch_size=4),
    "der": lambda: DerPlusPlus(capacity=9, batch_size=4),
    "mir": lambda: Mir(capacity=9, batch_size=2, candidates=4),
    "a_gem": lambda: AGem(capacity=9, fill="minibatches"),
}


@pytest.mark.parametrize("name", MEMORIES)
def test_a_memory_starts_empty(name: str) -> None:
    stream = digit_stream(2)
    method = MEMORIES[name]()
    learner = prepared(classifier(method), stream, boundary=BoundaryPolicy(memory="reset"))
    begun(learner, stream)
    assert (8, 8) == (len(method.memory), method.memory.seen)  # the minibatch of that update
    assert {2, 3} >= set(method.memory.contents()["targets"].tolist())
    learn_all(learner, stream)
    assert {2, 3} >= set(method.memory.contents()["targets"].tolist())


def test_a_memory_that_is_kept_is_not_emptied() -> None:
    stream = digit_stream(2)
    method = Rehearsal(capacity=99)
    begun(prepared(classifier(method), stream), stream)
    assert 2 * 26 + 8 == len(method.memory)


@pytest.mark.parametrize(
    ("method", "held"),
    [
        (Rehearsal(per_class=4, memory="herding", fill="experience"), lambda m: len(m.memory)),
        (Distill(capacity=9, samples=8), lambda m: len(m.memory)),
        (AGem(capacity=9), lambda m: len(m.memory)),
        (Gem(per_experience=4), lambda m: len(m._memories)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_memory_that_is_filled_at_boundaries_is_empty_through_the_next_experience(method: Any, held: Any) -> None:
    stream = digit_stream(2)
    learner = prepared(classifier(method), stream, boundary=BoundaryPolicy(memory="reset"))
    learn_one(learner, stream)
    assert held(method) > 0
    next(learning(learner, stream))
    assert 0 == held(method)


def test_a_replay_buffer_starts_empty_with_the_memories_of_methods() -> None:
    stream = cartpoles(60)
    method = Distill(capacity=9, samples=8)
    learner = prepared(sb3("DQN", method), stream, boundary=BoundaryPolicy(memory="reset"))
    learn_one(learner, stream)
    assert (60, 8) == (learner.model.replay_buffer.size(), len(method.memory))
    steps = learning(learner, stream)
    next(steps)
    assert (2, 0) == (learner.model.replay_buffer.size(), len(method.memory))
    for _ in steps:
        pass
    assert 60 == learner.model.replay_buffer.size()


# --- encoders -------------------------------------------------------------------------------------


@frozen
class Rising(DataSet):
    """Class k has the inputs 10 k and 10 k + 2: mean 10 k + 1, deviation 1."""

    def load(self) -> Data:
        y = np.repeat(np.arange(3), 2)
        x = (10 * y + np.array([0, 2] * 3))[:, None].astype(np.float32)
        return Data(x, y, x, y, "rising")


def rising() -> Stream:
    return digit_stream(3, data=Rising(), budget=Budget(epochs=1))


MEANS = {  # after each of three experiences, of 2 inputs each
    ("running", "keep"): [1, 6, 11],
    ("running", "refit"): [1, 11, 21],
    ("running", "freeze"): [1, 1, 1],
    ("first", "keep"): [1, 1, 1],
    ("first", "refit"): [1, 11, 21],
}
LEARNERS: Mapping[str, Callable[[], Any]] = {
    "classifier": classifier,
    "nearest_mean": NearestMean,
    "avalanche": avalanche,
}


@pytest.mark.parametrize(("fit_on", "policy"), MEANS)
@pytest.mark.parametrize("name", LEARNERS)
def test_an_encoder_is_fitted_on_what_the_policy_says(name: str, fit_on: Any, policy: Any) -> None:
    encoder = Standardize(fit_on=fit_on, clip=None)
    learner = prepared(LEARNERS[name](), rising(), encoder=encoder, boundary=BoundaryPolicy(encoder=policy))
    means = []
    for _ in rising():
        learn_one(learner, rising())
        means.append(float(encoder.encode(torch.zeros(1, 1))) / float(encoder._scale) * -1)
    assert pytest.approx(MEANS[fit_on, policy]) == means


def test_a_list_of_encoders_is_refitted_one_upon_the_other() -> None:
    encoder = Compose((Standardize(clip=None), Pca(components=1)))
    learner = prepared(classifier(), rising(), encoder=encoder, boundary=BoundaryPolicy(encoder="refit"))
    learn_all(learner, rising())
    assert pytest.approx([-1, 1]) == encoder.encode(torch.tensor([[20.0], [22.0]])).flatten().tolist()


@pytest.mark.parametrize("encoder", [RunningNorm, lambda: Standardize(fit_on="running")], ids=["norm", "standardize"])
def test_observations_are_counted_as_the_policy_says(encoder: Callable[[], Encoder]) -> None:
    stream = cartpoles(64)
    counts = {}
    for policy in ("keep", "refit", "freeze"):
        used: Any = encoder()
        learner = prepared(sb3("PPO"), stream, encoder=used, boundary=BoundaryPolicy(encoder=policy))  # type: ignore[arg-type]
        found = []
        for _ in stream:
            learn_one(learner, stream)
            found.append(round(used.observed.count if isinstance(used, RunningNorm) else used._count))
        counts[policy] = found
    one = 65 if isinstance(used, RunningNorm) else 1064  # steps, and a reset or 1000 random observations
    assert {"keep": [one, 2 * one], "refit": [one, one], "freeze": [one, one]} == counts


def test_frozen_rewards_keep_their_scale() -> None:
    stream = cartpoles(64)
    encoder = RunningNorm()
    learner = prepared(sb3("DQN"), stream, encoder=encoder, boundary=BoundaryPolicy(encoder="freeze"))
    learn_one(learner, stream)
    state = encoder.state_dict()
    learn_one(learner, stream)
    assert [] == differences(state, encoder.state_dict())


# --- exploration ----------------------------------------------------------------------------------


def test_the_deviation_of_a_policy_starts_anew_with_its_moments() -> None:
    stream = pendulums(64)
    options = {"policy_kwargs": {"net_arch": [8], "log_std_init": -0.5}, "learning_rate": 0.01}
    learner = prepared(sb3("PPO", **options), stream, boundary=BoundaryPolicy(exploration="reset"))
    learn_one(learner, stream)
    policy = learner.model.policy
    assert [-0.5] != policy.log_std.tolist()
    learner._boundary.cross()
    assert [-0.5] == policy.log_std.tolist()
    assert policy.log_std not in policy.optimizer.state
    assert len(list(policy.parameters())) - 1 == len(policy.optimizer.state)


def test_the_temperature_of_sac_starts_anew_with_its_moments() -> None:
    stream = pendulums(60)
    learner = prepared(sb3("SAC", ent_coef="auto_0.5"), stream, boundary=BoundaryPolicy(exploration="reset"))
    learn_one(learner, stream)
    assert pytest.approx(np.log(0.5)) != learner.model.log_ent_coef.item()
    learner._boundary.cross()
    assert pytest.approx(np.log(0.5)) == learner.model.log_ent_coef.item()
    assert 0 == len(learner.model.ent_coef_optimizer.state)
    assert len(learner.model.actor.optimizer.state) > 0


# --- resuming -------------------------------------------------------------------------------------


ALL = BoundaryPolicy(optimizer="reset", memory="reset", encoder="refit")
FROZEN = BoundaryPolicy(optimizer="reset", encoder="freeze")
Case = tuple[Callable[[], Any], Callable[[], Stream], Callable[[], Encoder], BoundaryPolicy]
RESUMED: Mapping[str, Case] = {
    "classifier": (
        lambda: classifier(Rehearsal(capacity=9, batch_size=4), Ewc()),
        lambda: digit_stream(2),
        lambda: Standardize(fit_on="running"),
        ALL,
    ),
    "classifier frozen": (classifier, lambda: digit_stream(2), lambda: Standardize(fit_on="running"), FROZEN),
    "autoencoder": (
        lambda: autoencoder(Distill(capacity=9, samples=8)),
        lambda: digit_stream(2),
        lambda: Standardize(fit_on="running"),
        ALL,
    ),
    "gdumb": (
        lambda: GDumb(capacity=9, network=Mlp(hidden=(8,)), epochs=2),
        lambda: digit_stream(2, budget=Budget(epochs=1)),
        Standardize,
        BoundaryPolicy(encoder="refit"),
    ),
    "avalanche": (
        lambda: avalanche(strategy="Replay", mem_size=10),
        lambda: digit_stream(2),
        Standardize,
        BoundaryPolicy(optimizer="reset", encoder="refit"),
    ),
    "PPO": (
        lambda: sb3("PPO", Distill(capacity=9, samples=8)),
        lambda: pendulums(64),
        RunningNorm,
        BoundaryPolicy(optimizer="reset", memory="reset", encoder="refit", exploration="reset"),
    ),
    "DQN": (lambda: sb3("DQN", buffer_size=50), lambda: cartpoles(60), RunningNorm, ALL),
    "SAC": (
        lambda: sb3("SAC"),
        lambda: pendulums(40),
        RunningNorm,
        BoundaryPolicy(memory="reset", encoder="freeze", exploration="reset"),
    ),
}


STOPS = [
    (name, updates)
    for name, case in RESUMED.items()
    for updates in (None, 4, 9)
    if updates is None or (case[0]().resumable_within and name != "gdumb")
]


@pytest.mark.parametrize(("name", "updates"), STOPS)
def test_resumed_at_a_boundary_or_within_an_experience_it_ends_the_same(name: str, updates: int | None) -> None:
    make, stream, encoder, policy = RESUMED[name]

    def new(seed: int = 0) -> Any:
        return prepared(make(), stream(), encoder=encoder(), seed=seed, boundary=policy)

    through = new()
    learn_all(through, stream())
    expected = snapshot(through)
    stopped = new()
    if updates is None:
        learn_one(stopped, stream())
    else:
        for _ in zip(range(updates), learning(stopped, stream()), strict=False):
            pass
    state = snapshot(stopped)
    fresh = new(7)
    restore(fresh, state)
    learn_all(fresh, stream())
    assert [] == differences(expected, snapshot(fresh))


@pytest.mark.parametrize("name", RESUMED)
def test_it_differs_from_keeping_everything(name: str) -> None:
    make, stream, encoder, policy = RESUMED[name]
    ends = []
    for used in (BoundaryPolicy(), policy):
        learner = prepared(make(), stream(), encoder=encoder(), boundary=used)
        learn_all(learner, stream())
        ends.append(snapshot(learner)["learner"])
    assert [] != differences(ends[0], ends[1])


# --- what is refused ------------------------------------------------------------------------------


class Plain:
    """A learner that knows of no policy."""

    measures = ("accuracy",)
    position = Position()

    def prepare(self, setup: Any) -> None:
        pass

    def learn(self, experience: Any) -> Any:
        yield None

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> Any:
        return x, None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("learner", "stream", "policy", "said"),
    [
        (classifier(), digit_stream(), {"exploration": "reset"}, "learner classifier: it does not explore"),
        (classifier(Ewc()), digit_stream(), {"memory": "reset"}, "none of its methods has a memory"),
        (classifier(), digit_stream(), {"encoder": "refit"}, "encoder identity has no fitted state"),
        (ICarl(capacity=9), digit_stream(), {"memory": "reset"}, "does not support a reset of its memory"),
        (
            NearestMean(),
            digit_stream(budget=Budget(epochs=1)),
            {"optimizer": "reset"},
            "learner nearest_mean: it has no optimizer",
        ),
        (
            GDumb(capacity=9),
            digit_stream(budget=Budget(epochs=1)),
            {"memory": "reset"},
            "its statistics of the examples are all that it learns",
        ),
        (avalanche(), digit_stream(), {"memory": "reset"}, "memories of its strategy and plugins cannot be emptied"),
        (avalanche(), digit_stream(), {"exploration": "reset"}, "it does not explore"),
        (sb3("PPO"), cartpoles(32), {"exploration": "reset"}, "it has no learned exploration parameter"),
        (sb3("PPO"), cartpoles(32), {"memory": "reset"}, "none of its methods has a memory"),
        (sb3("DQN"), cartpoles(32), {"exploration": "reset"}, "learner.schedule_over: experience restarts it"),
        (sb3("SAC", ent_coef=0.1), pendulums(32), {"exploration": "reset"}, "it has no learned exploration parameter"),
        (
            Plain(),
            digit_stream(),
            {"optimizer": "reset"},
            "has no method refuses(key, value), so its support is unknown",
        ),
        (
            classifier(),
            digit_stream(boundaries="hidden"),
            {"optimizer": "reset"},
            "this stream hides where an experience ends (stream.visibility.boundaries)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_run_cannot_do_is_refused_by_key_and_reason(
    learner: Any, stream: Stream, policy: Any, said: str
) -> None:
    with pytest.raises(UnsupportedError) as error:
        Trainer(learner, stream, Plan(), encoder=Identity(), boundary=BoundaryPolicy(**policy))
    ((key, value),) = policy.items()
    assert str(error.value).startswith(f"boundary.{key}: {value} is not possible: ")
    assert said in str(error.value)
    assert str(error.value).endswith("; set keep, or remove the key")


def test_a_learner_that_knows_of_no_policy_may_keep_everything() -> None:
    assert not Trainer(Plain(), digit_stream()).finished  # type: ignore[arg-type]


def test_the_trainer_hands_the_policy_to_its_learner() -> None:
    stream = digit_stream(2, budget=Budget(updates=3))
    learner = classifier()
    Trainer(learner, stream, encoder=Flatten(), boundary=BoundaryPolicy(optimizer="reset")).fit()
    assert {3} == {int(state["step"]) for state in learner.optimizers["network"].state.values()}
