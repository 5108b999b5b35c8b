"""Every registered learner: repeatable, resumable, and harmless while it predicts."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import attrs
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
    dqn,
    environment_stream,
    heads_by_task,
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
    weights,
    without_rates,
)
from probes import Forbidding

import rlcl.learners.schedules as schedules
from rlcl.data.augmentations import Crop, Erase, Flip, Noise
from rlcl.data.readers.scikit import Diabetes
from rlcl.data.sources import Environment
from rlcl.encoders.compose import Compose
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.frame_stack import FrameStack
from rlcl.encoders.identity import Identity
from rlcl.encoders.running_norm import RunningNorm
from rlcl.encoders.scale import Scale
from rlcl.encoders.standardize import Standardize
from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Adam, AdamW, RmsProp, Sgd
from rlcl.learners.reinforcement.priorities import Prioritised
from rlcl.learners.reinforcement.recurrent import Recurrent
from rlcl.learners.supervised.gdumb import GDumb
from rlcl.learners.supervised.icarl import ICarl
from rlcl.learners.supervised.nearest_mean import NearestMean
from rlcl.learners.supervised.regressor import Regressor
from rlcl.learners.supervised.streaming_lda import StreamingLda
from rlcl.learners.unsupervised.barlow_twins import BarlowTwins
from rlcl.learners.unsupervised.kmeans import KMeans
from rlcl.learners.unsupervised.simsiam import SimSiam
from rlcl.learners.unsupervised.vae import Vae
from rlcl.methods.distill import Distill
from rlcl.methods.ewc import Ewc
from rlcl.methods.rehearsal import Rehearsal
from rlcl.networks.cnn import Cnn
from rlcl.networks.mlp import Linear, Mlp
from rlcl.networks.multihead import Multihead
from rlcl.registry import entries, name_of
from rlcl.seeding import Seeds
from rlcl.streams.data_incremental import DataIncremental
from rlcl.streams.stream import Stream
from rlcl.streams.visibility import learner_view
from rlcl.types import Budget, Encoder, Predictor

HIDDEN = "classifier hidden boundaries"
CNN = Cnn(channels=(4,), hidden=(8,))
MULTIHEAD = Multihead(body=Mlp(hidden=(16,)), features=16)


@frozen
class Case:
    """A learner with the stream that it learns from."""

    make: Callable[[], Any]
    stream: Callable[[], Stream] = digit_stream
    encoder: Callable[[], Encoder] = Standardize

    def prepared(self, **settings: Any) -> Any:
        return prepared(self.make(), self.stream(), encoder=self.encoder(), **settings)


def with_ids() -> Stream:
    return digit_stream(2, task_ids=True)


def one_pass() -> Stream:
    return digit_stream(2, boundaries="hidden")


def regression() -> Stream:
    stream = DataIncremental(data=Diabetes(), experiences=12).make(Seeds(0), Budget(epochs=2))
    return stream[:2]


ARRAYS: Mapping[str, Case] = {
    "classifier": Case(classifier),
    "classifier linear momentum": Case(
        lambda: classifier(network=Linear(), optimizer=Sgd(lr=0.01, momentum=0.9, nesterov=True))
    ),
    "classifier dropout": Case(lambda: classifier(network=Mlp(hidden=(16,), dropout=0.5, layer_norm=True))),
    "classifier cnn": Case(lambda: classifier(network=CNN), encoder=Scale),
    "classifier multihead": Case(lambda: classifier(network=MULTIHEAD), with_ids),
    "classifier masked": Case(lambda: classifier(optimizer=AdamW()), with_ids),
    "classifier drop_last": Case(lambda: classifier(drop_last=True, optimizer=RmsProp(momentum=0.5))),
    HIDDEN: Case(lambda: classifier(Rehearsal(capacity=9, batch_size=4)), one_pass),
    "classifier methods": Case(
        lambda: classifier(Rehearsal(capacity=9, batch_size=4), Ewc(), Distill(capacity=9, samples=8))
    ),
    "classifier running encoder": Case(
        classifier, encoder=lambda: Compose(encoders=(Standardize(fit_on="running"), Flatten()))
    ),
    "regressor": Case(lambda: Regressor(network=Mlp(hidden=(8,)), batch_size=8, optimizer=Adam()), regression),
    "nearest mean": Case(lambda: NearestMean(batch_size=4), lambda: digit_stream(2, budget=Budget(epochs=1))),
    "streaming lda": Case(lambda: StreamingLda(batch_size=4), lambda: digit_stream(2, budget=Budget(epochs=1))),
    "icarl": Case(
        lambda: ICarl(
            capacity=9, memory_batch_size=4, network=Mlp(hidden=(16,), dropout=0.5), optimizer=Adam(), batch_size=8
        )
    ),
    "gdumb": Case(
        lambda: GDumb(capacity=10, network=Mlp(hidden=(16,), dropout=0.5), epochs=3, batch_size=4),
        lambda: digit_stream(2, budget=Budget(epochs=1)),
    ),
    "kmeans": Case(lambda: KMeans(batch_size=4, clusters=5), lambda: digit_stream(2, budget=Budget(epochs=1))),
    "vae": Case(
        lambda: Vae(
            likelihood="gaussian",
            network=Mlp(hidden=(16,)),
            decoder=Mlp(hidden=(16,)),
            code=4,
            batch_size=8,
            optimizer=Adam(),
        ),
        encoder=Scale,
    ),
    "classifier augmented": Case(
        lambda: classifier(augment=(Crop(padding=1), Flip(), Noise(), Erase())), encoder=Scale
    ),
    "barlow twins": Case(
        lambda: BarlowTwins(
            network=Mlp(hidden=(16,)),
            projector=Mlp(hidden=(16,)),
            features=8,
            projection=8,
            batch_size=8,
            augment=(Noise(),),
            optimizer=Adam(),
        ),
    ),
    "simsiam": Case(
        lambda: SimSiam(
            network=Mlp(hidden=(16,)),
            projector=Mlp(hidden=(16,)),
            predictor=Mlp(hidden=(8,)),
            features=8,
            projection=8,
            batch_size=8,
            augment=(Noise(),),
            optimizer=Adam(),
        ),
    ),
    "autoencoder": Case(autoencoder),
    "autoencoder linear": Case(lambda: autoencoder(network=Linear(), decoder=Linear())),
    "autoencoder cnn": Case(lambda: autoencoder(network=CNN), encoder=Scale),
    "autoencoder task ids": Case(autoencoder, with_ids),
}
FRAMES = FrameStack(frames=3)
ACTING: Mapping[str, Case] = {  # saved after any update
    "ppo": Case(ppo, lambda: cartpoles(56), RunningNorm),
    "ppo frames": Case(ppo, lambda: FRAMES.adapt(cartpoles(56)), lambda: FRAMES),
    "ppo methods": Case(
        lambda: ppo(Ewc(), Distill(capacity=9, samples=8)), lambda: cartpoles(56, vectorization="native"), Identity
    ),
}
ENVIRONMENTS: Mapping[str, Case] = {
    "sb3 PPO": Case(lambda: sb3("PPO"), lambda: cartpoles(128, num_envs=2), Identity),
    "sb3 PPO standardize": Case(lambda: sb3("PPO"), lambda: cartpoles(64), lambda: Standardize(fit_on="running")),
    "sb3 PPO running norm": Case(lambda: sb3("PPO"), lambda: cartpoles(128, num_envs=2), RunningNorm),
    "sb3 DQN running norm": Case(lambda: sb3("DQN"), lambda: cartpoles(60), RunningNorm),
    "sb3 PPO frames": Case(lambda: sb3("PPO"), lambda: FRAMES.adapt(cartpoles(64)), lambda: FRAMES),
    "sb3 A2C native": Case(lambda: sb3("A2C"), lambda: cartpoles(64, num_envs=2, vectorization="native"), Identity),
    "sb3 DQN": Case(lambda: sb3("DQN"), lambda: cartpoles(80), Identity),
    "sb3 SAC": Case(lambda: sb3("SAC"), lambda: pendulums(40), Identity),
    "sb3 TD3": Case(
        lambda: sb3("TD3", action_noise={"ornstein_uhlenbeck": 0.2}), lambda: pendulums(40, num_envs=2), Identity
    ),
}
OWN: Mapping[str, Case] = {
    "ppo recurrent": Case(lambda: ppo(recurrent=Recurrent(size=5)), lambda: cartpoles(56), Identity),
    "dqn": Case(dqn, lambda: cartpoles(80), Identity),
    "dqn rainbow": Case(
        lambda: dqn(double=True, dueling=True, n_step=3, prioritised=Prioritised(), tau=0.5, gradient_steps=-1),
        lambda: cartpoles(80, num_envs=2),
        RunningNorm,
    ),
    "dqn masks": Case(
        lambda: dqn(double=True, n_step=2, prioritised=Prioritised()),
        lambda: environment_stream(*[Environment(Forbidding, kwargs={"lenient": True}, name="f")] * 2, budget=40),
        Identity,
    ),
    "dqn async": Case(dqn, lambda: cartpoles(24, num_envs=2, vectorization="async"), Identity),
    "dqn native": Case(
        lambda: dqn(gradient_steps=3, train_every=8, schedule=schedules.Linear()),
        lambda: cartpoles(80, num_envs=2, vectorization="native"),
        lambda: Standardize(fit_on="running"),
    ),
    "sac": Case(sac, lambda: pendulums(30), Identity),
    "sac several": Case(
        lambda: sac(entropy=0.2, n_step=2, prioritised=Prioritised(), train_every=3, gradient_steps=-1),
        lambda: pendulums(40, num_envs=2),
        RunningNorm,
    ),
    "td3": Case(td3, lambda: pendulums(30), Identity),
    "td3 several": Case(
        lambda: td3(policy_delay=3, prioritised=Prioritised(), gradient_steps=2, schedule=schedules.Linear()),
        lambda: pendulums(40, num_envs=2),
        lambda: Standardize(fit_on="running"),
    ),
    "dqn hidden boundaries": Case(dqn, lambda: cartpoles(40, boundaries="hidden"), Identity),
}
AVALANCHE: Mapping[str, Case] = {
    "avalanche Replay": Case(lambda: avalanche(strategy="Replay", mem_size=10)),
    "avalanche DER dropout": Case(
        lambda: avalanche(strategy="DER", mem_size=10, network=Mlp(hidden=(16,), dropout=0.5)), encoder=Scale
    ),
    "avalanche heads": Case(lambda: avalanche(Ewc(), network=heads_by_task()), with_ids),
}
LIBRARIES = {**ENVIRONMENTS, **AVALANCHE}  # saved at boundaries alone
RESUMABLE = {**ARRAYS, **ACTING, **OWN}
LEARNERS = {**RESUMABLE, **LIBRARIES}
ONE_PASS = ("nearest mean", "streaming lda", "kmeans")  # they keep statistics, and draw nothing
WEIGHTED = [name for name in LEARNERS if name not in ONE_PASS]


def inputs(case: Case) -> np.ndarray[Any, Any]:
    """Raw inputs of the stream's first experience."""
    test = case.stream()[0].test
    if case.stream().spec.kind == "environment":
        return test.random_observations(5)  # type: ignore[union-attr]
    return test.read()[0].numpy()  # type: ignore[union-attr]


def task_id(case: Case) -> int | None:
    return 0 if case.stream().visibility.at_evaluation else None


def test_every_registered_learner_is_here() -> None:
    missing = set(entries("learner")) - {name_of("learner", case.make()) for case in LEARNERS.values()}
    assert not missing, f"add a case of {', '.join(sorted(missing))} to LEARNERS of this file"


@pytest.mark.parametrize("name", LEARNERS)
def test_the_same_seed_gives_the_same_events_and_state(name: str) -> None:
    case = LEARNERS[name]
    runs = []
    for _ in range(2):
        learner = case.prepared(event_interval=3)
        events = learn_all(learner, case.stream())
        runs.append([without_rates(events), snapshot(learner)])
    assert [] == differences(runs[0], runs[1])


@pytest.mark.parametrize("name", WEIGHTED)
def test_another_seed_gives_other_weights(name: str) -> None:
    case = LEARNERS[name]
    first, second = case.prepared(seed=0), case.prepared(seed=1)
    assert [] != differences(weights(first), weights(second))


@pytest.mark.parametrize("name", WEIGHTED)
def test_it_changes_its_weights(name: str) -> None:
    case = LEARNERS[name]
    learner = case.prepared()
    before = weights(learner)
    learn_one(learner, case.stream())
    assert [] != differences(before, weights(learner))


@pytest.mark.parametrize("updates", [0, 1, 4, 7, 8, 9, 12])
@pytest.mark.parametrize("name", RESUMABLE)
def test_interrupted_at_an_update_and_resumed_it_ends_the_same(name: str, updates: int) -> None:
    case = LEARNERS[name]
    through = case.prepared(event_interval=3)
    expected = learn_all(through, case.stream())
    stopped = case.prepared(event_interval=3)
    events = []
    steps = learning(stopped, case.stream())
    for _ in range(updates):
        events.append(next(steps))
    state = snapshot(stopped)
    fresh = case.prepared(event_interval=3, seed=7)
    restore(fresh, state)
    events += learn_all(fresh, case.stream())
    assert without_rates(expected) == without_rates([e for e in events if e is not None])
    assert [] == differences(snapshot(through), snapshot(fresh))


@pytest.mark.parametrize("name", LEARNERS)
def test_interrupted_at_a_boundary_and_resumed_it_ends_the_same(name: str) -> None:
    case = LEARNERS[name]
    through = case.prepared()
    learn_all(through, case.stream())
    stopped = case.prepared()
    learn_one(stopped, case.stream())
    state = snapshot(stopped)
    fresh = case.prepared(seed=7)
    restore(fresh, state)
    learn_all(fresh, case.stream())
    assert [] == differences(snapshot(through), snapshot(fresh))


@pytest.mark.parametrize("name", LEARNERS)
def test_it_says_whether_it_can_be_resumed_within_an_experience(name: str) -> None:
    assert (name in RESUMABLE) == LEARNERS[name].make().resumable_within


@pytest.mark.parametrize("name", LEARNERS)
def test_a_saved_state_does_not_change_as_learning_goes_on(name: str) -> None:
    case = LEARNERS[name]
    learner = case.prepared()
    state, kept = learner.state_dict(), snapshot(learner)["learner"]
    learn_all(learner, case.stream())
    assert [] == differences(kept, state)


@pytest.mark.parametrize("name", LEARNERS)
def test_its_state_can_be_written_as_json_and_tensors(name: str) -> None:
    from rlcl.state import flatten, unflatten

    case = LEARNERS[name]
    learner = case.prepared()
    learn_all(learner, case.stream())
    state = learner.state_dict()
    fresh = case.prepared(seed=7)
    fresh.load_state_dict(unflatten(*flatten(state)))
    assert [] == differences(state, fresh.state_dict())


@pytest.mark.parametrize("name", LEARNERS)
def test_it_is_a_predictor(name: str) -> None:
    learner = LEARNERS[name].prepared()
    assert isinstance(learner, Predictor)
    assert set(learner.measures) <= set(entries("measure"))


@pytest.mark.parametrize("name", LEARNERS)
def test_predictions_are_the_same_again(name: str) -> None:
    case = LEARNERS[name]
    learner = case.prepared()
    learn_one(learner, case.stream())
    x = inputs(case)
    first, second = (np.asarray(learner.predict(x, task_id(case))[0]) for _ in range(2))
    assert len(x) == len(first)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", LEARNERS)
def test_predicting_leaves_its_input_as_it_was(name: str) -> None:
    case = LEARNERS[name]
    learner = case.prepared()
    learn_one(learner, case.stream())
    x = inputs(case)
    before = x.copy()
    learner.predict(x, task_id(case))
    assert np.array_equal(before, x)


@pytest.mark.parametrize("name", LEARNERS)
def test_predicting_changes_neither_generators_nor_state(name: str) -> None:
    case = LEARNERS[name]
    learner = case.prepared()
    learn_one(learner, case.stream())
    before = [snapshot(learner), random.getstate()]
    learner.predict(inputs(case), task_id(case))
    assert [] == differences(before, [snapshot(learner), random.getstate()])


@pytest.mark.parametrize("name", RESUMABLE)
def test_predicting_within_an_experience_changes_nothing_of_what_follows(name: str) -> None:
    case = LEARNERS[name]
    through, watched = case.prepared(), case.prepared()
    x = inputs(case)
    torch.manual_seed(3)
    learn_all(through, case.stream())
    torch.manual_seed(3)
    for _ in learning(watched, case.stream()):
        watched.predict(x, task_id(case))
    assert [] == differences(snapshot(through), snapshot(watched))


@pytest.mark.parametrize("name", AVALANCHE)
def test_predicting_between_updates_of_a_library_changes_nothing_of_what_follows(name: str) -> None:
    case = LEARNERS[name]
    through, watched = case.prepared(), case.prepared()
    learn_all(through, case.stream())
    expected = snapshot(through)
    x = inputs(case)
    for _ in learning(watched, case.stream()):
        watched.predict(x, task_id(case))
    assert [] == differences(expected, snapshot(watched))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_predicting_between_rollouts_changes_nothing_of_what_follows(name: str) -> None:
    case = LEARNERS[name]
    through = case.prepared()
    learn_all(through, case.stream())
    expected = snapshot(through)
    watched = case.prepared()
    x = inputs(case)
    for _ in learning(watched, case.stream()):
        watched.predict(x)
    assert [] == differences(expected, snapshot(watched))


@pytest.mark.parametrize("name", LEARNERS)
def test_its_position_names_the_experience_in_progress_and_then_the_next(name: str) -> None:
    case = LEARNERS[name]
    stream = case.stream()
    learner = case.prepared()
    assert (0, 0, False) == (learner.position.experience, learner.position.step, learner.position.learning)
    steps = learning(learner, stream)
    next(steps)
    assert (0, True) == (learner.position.experience, learner.position.learning)
    assert learner.position.update == learner.position.step > 0
    for _ in steps:
        if not learner.position.learning:
            break
    assert (1, 0, False) == (learner.position.experience, learner.position.update, learner.position.learning)


@pytest.mark.parametrize("name", LEARNERS)
def test_steps_are_counted_over_the_whole_stream(name: str) -> None:
    case = LEARNERS[name]
    stream = case.stream()
    learner = case.prepared()
    learn_all(learner, stream)
    assert sum(map(learner.steps, stream)) == learner.position.step


@pytest.mark.parametrize("name", [n for n in LEARNERS if not n.endswith("hidden boundaries")])
def test_another_experience_while_one_is_unfinished_is_an_error(name: str) -> None:
    case = LEARNERS[name]
    stream = case.stream()
    learner = case.prepared()
    next(learner.learn(stream[0]))
    with pytest.raises(ValueError, match="experience 0 is unfinished"):
        next(learner.learn(stream[1]))


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_is_not_saved_within_an_experience(name: str) -> None:
    case = LEARNERS[name]
    learner = case.prepared()
    next(learner.learn(case.stream()[0]))
    with pytest.raises(ValueError, match="boundaries of experiences"):
        learner.state_dict()


@pytest.mark.parametrize("name", LEARNERS)
def test_a_budget_in_another_unit_is_refused_before_training(name: str) -> None:
    case = LEARNERS[name]
    budget = Budget(episodes=3)
    stream = case.stream()
    short = attrs.evolve(stream, experiences=tuple(attrs.evolve(e, budget=budget) for e in stream))
    with pytest.raises(UnsupportedError, match=r"budget\.episodes: .*(use|write) "):
        prepared(case.make(), short, encoder=case.encoder())


@pytest.mark.parametrize("name", LEARNERS)
def test_a_stream_of_another_kind_is_refused(name: str) -> None:
    case = LEARNERS[name]
    other = digit_stream() if case.stream().spec.kind == "environment" else cartpoles(32)
    with pytest.raises(UnsupportedError, match=r"learns from .* and this (one|stream) is"):
        prepared(case.make(), other)


@pytest.mark.parametrize("name", LEARNERS)
def test_an_event_comes_at_the_end_of_each_experience(name: str) -> None:
    case = LEARNERS[name]
    stream = case.stream()
    learner = case.prepared(event_interval=10**6)
    events = learn_all(learner, stream)
    ends = np.cumsum([learner.steps(e) for e in stream]).tolist()
    assert ends == [e.step for e in events]


@pytest.mark.parametrize("name", LEARNERS)
def test_every_value_of_an_event_is_a_finite_number(name: str) -> None:
    case = LEARNERS[name]
    learner = case.prepared(event_interval=5)
    values = [v for event in learn_all(learner, case.stream()) for v in event.values.values()]
    assert all(type(v) is float for v in values)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("name", LEARNERS)
def test_its_last_update_and_the_boundary_are_one_moment(name: str) -> None:
    case = LEARNERS[name]
    learner = case.prepared()
    experience = case.stream()[0] if case is not LEARNERS[HIDDEN] else learner_view(case.stream())[0]
    steps = learner.steps(experience)
    places = [(learner.position.step, learner.position.learning) for _ in learner.learn(experience)]
    assert (steps, False) == places[-1]
    assert all(learning and step < steps for step, learning in places[:-1])


@pytest.mark.parametrize("name", LEARNERS)
def test_stopped_at_its_last_update_it_has_the_state_of_one_that_was_drained(name: str) -> None:
    case = LEARNERS[name]
    drained = case.prepared()
    learn_one(drained, case.stream())
    stopped = case.prepared()
    steps = learning(stopped, case.stream())
    while not next(steps) or stopped.position.learning:
        pass
    assert [] == differences(drained.state_dict(), stopped.state_dict())
