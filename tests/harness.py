"""Small data, streams and learners for tests, and what compares their states bit for bit."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from probes import Forbidding
from rich.console import Console
from torch import Tensor

from rlcl.data.readers.scikit import Digits
from rlcl.data.readers.torchvision import IDX_FILES
from rlcl.data.sources import Data, Environment, LabelledArrays
from rlcl.encoders.identity import Identity
from rlcl.encoders.scale import Scale
from rlcl.learners.optimizers import Adam, Sgd
from rlcl.learners.reinforcement.dqn import Dqn
from rlcl.learners.reinforcement.ppo import Ppo
from rlcl.learners.reinforcement.recurrent import Recurrent
from rlcl.learners.reinforcement.sac import Sac
from rlcl.learners.reinforcement.td3 import Td3
from rlcl.learners.supervised.classifier import Classifier
from rlcl.learners.supervised.regressor import Regressor
from rlcl.learners.unsupervised.autoencoder import Autoencoder
from rlcl.networks.mlp import Mlp
from rlcl.registry import entries, find
from rlcl.seeding import Seeds, global_state, load_global_state, seed_globals
from rlcl.state import clone_state
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.stream import Stream
from rlcl.streams.task_incremental import TaskIncremental
from rlcl.streams.visibility import learner_view
from rlcl.types import (
    BoundaryPolicy,
    Budget,
    DataSet,
    Encoder,
    Event,
    Experience,
    Method,
    OptimizerFactory,
    Setup,
    StreamSpec,
    Visibility,
)

WALL_CLOCK = ("samples_per_second", "env_steps_per_second")


@cache
def _few_digits(classes: int, per_class: int) -> Data:
    data = Digits().load()

    def first(labels: Tensor, count: int) -> Tensor:
        return torch.cat([(labels == k).nonzero().flatten()[:count] for k in range(classes)])

    train, test = first(data.train_labels, per_class), first(data.test_labels, 5)
    return Data(
        data.train_inputs[train], data.train_labels[train], data.test_inputs[test], data.test_labels[test], "digits"
    )


@frozen
class FewDigits(DataSet):
    """The first few images of the first few digits."""

    classes: int = 4
    per_class: int = 13

    def load(self) -> Data:
        return _few_digits(self.classes, self.per_class)


def digit_stream(
    experiences: int = 2,
    *,
    budget: Budget = Budget(epochs=2),  # noqa: B008
    task_ids: bool = False,
    boundaries: str = "announced",
    seed: int = 0,
    data: Any = None,
) -> Stream:
    """Few digits, class by class, with or without task ids."""
    data = FewDigits() if data is None else data
    visibility = Visibility(task_ids="visible" if task_ids else "hidden", boundaries=boundaries)  # type: ignore[arg-type]
    scenario = TaskIncremental if task_ids else ClassIncremental
    return scenario(data=data, experiences=experiences, visibility=visibility).make(Seeds(seed), budget)


def regression_stream() -> Stream:
    """The sums of the upper and the lower half of a few digits, then the same with the other sign."""
    data = _few_digits(4, 13)
    experiences = []
    for index, sign in enumerate((1, -1)):
        train, test = (
            LabelledArrays(x, sign * torch.stack([half.flatten(1).sum(1) / 100 for half in x.chunk(2, -2)], 1))
            for x in (data.train_inputs, data.test_inputs)
            if isinstance(x, Tensor)
        )
        experiences.append(Experience(index, f"sign {sign}", train, test, Budget(epochs=2), index))
    spec = StreamSpec("regression", data.observation_shape, targets=2)
    return Stream(tuple(experiences), spec, Visibility())


def environment_stream(
    *sources: Environment, budget: int, boundaries: str = "announced", unit: str = "env_steps"
) -> Stream:
    """One experience an environment; the seeds are the sources' own."""
    experiences = tuple(
        Experience(i, f"environment {i}", source, source, Budget(**{unit: budget}), i)
        for i, source in enumerate(sources)
    )
    shape = tuple(sources[0].spaces()[0].shape or ())
    return Stream(experiences, StreamSpec("environment", shape), Visibility(boundaries=boundaries))  # type: ignore[arg-type]


def cartpoles(
    budget: int, *, num_envs: int = 1, tasks: int = 2, vectorization: str = "sync", boundaries: str = "announced"
) -> Stream:
    """CartPole, then CartPole under four times the gravity."""
    env = "rlcl_envs/CartPole-v1" if vectorization == "native" else "CartPole-v1"
    sources = [
        Environment(env, attributes=a, num_envs=num_envs, vectorization=vectorization, seed=11 + i, name=env)  # type: ignore[arg-type]
        for i, a in enumerate([{}, {"gravity": 40}][:tasks])
    ]
    return environment_stream(*sources, budget=budget, boundaries=boundaries)


def choosing(budget: int) -> Stream:
    """Two experiences in an environment with two choices at once and masks of the first one."""
    sources = [
        Environment(Forbidding, kwargs={"several": True}, num_envs=1, seed=31 + i, name="forbidding") for i in range(2)
    ]
    return environment_stream(*sources, budget=budget)


def pendulums(budget: int, *, num_envs: int = 1, tasks: int = 2) -> Stream:
    """Pendulum, then a heavier one."""
    sources = [
        Environment("Pendulum-v1", attributes=a, num_envs=num_envs, seed=21 + i, name="Pendulum-v1")
        for i, a in enumerate([{}, {"m": 2.0}][:tasks])
    ]
    return environment_stream(*sources, budget=budget)


def prepared(
    learner: Any,
    stream: Stream,
    *,
    encoder: Encoder | None = None,
    seed: int = 0,
    event_interval: int = 100,
    boundary: BoundaryPolicy = BoundaryPolicy(),  # noqa: B008
) -> Any:
    """The learner, prepared as the trainer would, under seeded global generators."""
    seeds = Seeds(seed)
    seed_globals(seeds.child("globals"))
    learner.prepare(
        Setup(
            spec=stream.spec,
            stream=stream,
            encoder=Identity() if encoder is None else encoder,
            seeds=seeds.child("learner"),
            event_interval=event_interval,
            boundary=boundary,
        )
    )
    return learner


def learning(learner: Any, stream: Stream) -> Iterator[Event | None]:
    """What is left of the stream, as the trainer shows it."""
    for experience in learner_view(stream).experiences[learner.position.experience :]:
        yield from learner.learn(experience)


def learn_all(learner: Any, stream: Stream) -> list[Event]:
    return [event for event in learning(learner, stream) if event is not None]


def learn_one(learner: Any, stream: Stream) -> list[Event]:
    """The next experience alone."""
    experience = learner_view(stream).experiences[learner.position.experience]
    return [event for event in learner.learn(experience) if event is not None]


def acting_learners() -> set[str]:
    """Names of the registered learners that act in environments; each table of learners must have all of them."""
    learners: dict[str, Any] = {name: find("learner", name) for name in entries("learner")}
    return {name for name, learner in learners.items() if "environment" in learner.needs}


def without_rates(events: Sequence[Event]) -> list[tuple[int, dict[str, float]]]:
    """Steps and values but for those of the wall clock."""
    return [(e.step, {k: v for k, v in e.values.items() if k not in WALL_CLOCK}) for e in events]


def of_learner(events: Sequence[Event]) -> list[tuple[int, dict[str, float]]]:
    """Steps and values that the learner logs itself, without those of methods and of the wall clock."""
    return [(step, {k: v for k, v in values.items() if "/" not in k}) for step, values in without_rates(events)]


def snapshot(learner: Any) -> dict[str, Any]:
    state: dict[str, Any] = clone_state({"learner": learner.state_dict(), "globals": global_state()})
    return state


def restore(learner: Any, state: Mapping[str, Any]) -> None:
    learner.load_state_dict(state["learner"])
    load_global_state(state["globals"])


def without_methods(state: Mapping[str, Any]) -> dict[str, Any]:
    """A learner's state but for its methods'."""
    return {key: value for key, value in state.items() if key != "methods"}


def weights(learner: Any) -> dict[str, Tensor]:
    if hasattr(learner, "model"):
        modules = {"": learner.model.policy}
    else:
        modules = {"": learner.module} if hasattr(learner, "module") else learner.modules
    named = {f"{part}.{name}".lstrip("."): p for part, m in modules.items() for name, p in m.named_parameters()}
    return {name: p.detach().clone() for name, p in named.items()}


def differences(expected: Any, actual: Any, path: str = "") -> list[str]:
    """Paths at which two trees are not equal bit for bit; empty where they are."""
    if type(expected) is not type(actual):
        return [f"{path}: {type(expected).__name__} and {type(actual).__name__}"]
    if isinstance(expected, Mapping):
        if list(expected) != list(actual):
            return [f"{path}: keys {list(expected)} and {list(actual)}"]
        return [d for key in expected for d in differences(expected[key], actual[key], f"{path}/{key}")]
    if isinstance(expected, list | tuple):
        if len(expected) != len(actual):
            return [f"{path}: {len(expected)} and {len(actual)} items"]
        pairs = enumerate(zip(expected, actual, strict=True))
        return [d for i, (e, a) in pairs for d in differences(e, a, f"{path}/{i}")]
    if isinstance(expected, Tensor):
        return [] if torch.equal(expected, actual) else [f"{path}: tensors differ"]
    if isinstance(expected, np.ndarray):
        return [] if np.array_equal(expected, actual) else [f"{path}: arrays differ"]
    return [] if expected == actual else [f"{path}: {expected!r} and {actual!r}"]


def added_gradients(learner: Any, key: str | None = None) -> dict[str, Tensor | None]:
    """What methods alone make of the gradients, at the present weights, which stay as they are."""
    host = learner_host(learner)
    optimizer = host.optimizers[key or host.primary]
    named = dict(host.modules[key or host.primary].named_parameters())
    seen: dict[str, Tensor | None] = {}

    def look(*_: Any) -> None:
        seen.update({n: None if p.grad is None else p.grad.detach().clone() for n, p in named.items()})

    optimizer.zero_grad()
    if hasattr(learner, "objective"):  # those of the loss's own pass
        batch = learner.batch
        learner.objective.start(batch)
        learner.objective.passes.append((batch.inputs, learner.outputs(batch.inputs, batch.task_ids)))
        for penalty in learner.objective.penalties():
            penalty.backward()
    before = clone_state(optimizer.state_dict())
    kept = {n: p.detach().clone() for n, p in named.items()}
    handle = optimizer.register_step_pre_hook(look)
    optimizer.step()
    handle.remove()
    with torch.no_grad():
        for name, p in named.items():
            p.copy_(kept[name])
    optimizer.load_state_dict(before)
    optimizer.zero_grad()
    return seen


def learner_host(learner: Any) -> Any:
    """What methods see of a learner."""
    return learner.host


def classifier(*methods: Method, optimizer: OptimizerFactory | None = None, **settings: Any) -> Classifier:
    """One small hidden layer, Adam, batches of 8."""
    settings = {"network": Mlp(hidden=(16,)), "batch_size": 8, **settings}
    return Classifier(optimizer=optimizer or Adam(lr=0.01), methods=methods, **settings)


def regressor(*methods: Method, optimizer: OptimizerFactory | None = None, **settings: Any) -> Regressor:
    settings = {"network": Mlp(hidden=(16,)), "batch_size": 8, **settings}
    return Regressor(optimizer=optimizer or Adam(lr=0.01), methods=methods, **settings)


def autoencoder(*methods: Method, optimizer: OptimizerFactory | None = None, **settings: Any) -> Autoencoder:
    settings = {"network": Mlp(hidden=(16,)), "decoder": Mlp(hidden=(16,)), "code": 4, "batch_size": 8, **settings}
    return Autoencoder(optimizer=optimizer or Adam(lr=0.01), methods=methods, **settings)


def avalanche(*methods: Method, strategy: str = "Naive", network: Any = None, **options: Any) -> Any:
    """A strategy at a size for tests."""
    from rlcl.learners.avalanche.learner import Avalanche

    return Avalanche(
        strategy=strategy,
        options=options,
        network=network or Mlp(hidden=(16,)),
        optimizer=Adam(lr=0.01),
        batch_size=8,
        methods=methods,
    )


def heads_by_task() -> Any:
    from rlcl.networks.avalanche import AvalancheNetwork

    return AvalancheNetwork(model="MTSimpleMLP", options={"hidden_size": 8})


def sb3(algorithm: str, *methods: Method, schedule_over: str = "experience", policy: Any = None, **options: Any) -> Any:
    """An algorithm at a size for tests."""
    from rlcl.learners.sb3.learner import StableBaselines3

    options = {"policy_kwargs": {"net_arch": [16]}, **SMALL.get(algorithm, {}), **options}
    return StableBaselines3(
        algorithm=algorithm,
        policy=policy,
        options=options,
        methods=methods,
        schedule_over=schedule_over,  # type: ignore[arg-type]
    )


def ppo(*methods: Method, **settings: Any) -> Ppo:
    """Our own, of the size of Stable-Baselines3's here."""
    network = Mlp(hidden=(16,), activation="tanh", initialization="orthogonal")
    return Ppo(methods=methods, **{"network": network, "n_steps": 8, "batch_size": 8, "epochs": 2, **settings})


OFF_POLICY: Mapping[str, Any] = {
    "network": Mlp(hidden=(16,)),
    "optimizer": Adam(lr=0.01),
    "learning_starts": 5,
    "capacity": 60,
    "batch_size": 8,
}


def dqn(*methods: Method, **settings: Any) -> Dqn:
    """Updates every two env steps."""
    return Dqn(methods=methods, **{**OFF_POLICY, "train_every": 2, "target_interval": 10, **settings})


def sac(*methods: Method, **settings: Any) -> Sac:
    return Sac(methods=methods, **{**OFF_POLICY, **settings})


def td3(*methods: Method, **settings: Any) -> Td3:
    return Td3(methods=methods, **{**OFF_POLICY, **settings})


def save_weights(model: str, path: Path, seed: int = 0) -> None:
    """The state dict of a torchvision model with fresh weights."""
    from rlcl.networks.torchvision import torchvision_model

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.save(torchvision_model(model, "")().state_dict(), path)


def autoencoder_run(
    folder: Path, shape: tuple[int, ...], learner: Mapping[str, Any] | None = None, **settings: Any
) -> Path:
    """A finished run of an autoencoder with three codes over 20 random inputs, in ``folder/runs``."""
    from rlcl.experiment import experiment_from
    from rlcl.launch.seeds import run_experiment

    rng = np.random.default_rng(0)
    np.savez(folder / "inputs.npz", x=rng.random((20, *shape), dtype=np.float32), y=np.arange(20) % 2)
    network = {"type": "mlp", "hidden": [4]}
    plain: dict[str, Any] = {
        "name": "code",
        "stream": {"type": "single", "data": {"type": "npz", "path": str(folder / "inputs.npz")}},
        "encoder": "standardize",
        "learner": learner or {"type": "autoencoder", "network": network, "decoder": network, "code": 3},
        "budget": {"updates": 3},
    }
    (finished,) = run_experiment(experiment_from({**plain, **settings}), folder / "runs", Console(quiet=True))
    return finished.path


_OFF_POLICY = {"learning_starts": 20, "buffer_size": 200, "batch_size": 16}
SMALL: Mapping[str, Mapping[str, Any]] = {
    "PPO": {"n_steps": 32, "batch_size": 16, "n_epochs": 2},
    "A2C": {"n_steps": 8},
    "DQN": {**_OFF_POLICY, "train_freq": 2, "target_update_interval": 20, "exploration_fraction": 0.5},
    "QRDQN": {**_OFF_POLICY, "train_freq": 2, "target_update_interval": 20},
    "SAC": _OFF_POLICY,
    "TD3": _OFF_POLICY,
    "DDPG": _OFF_POLICY,
    "TRPO": {"n_steps": 32, "batch_size": 16},
}


@frozen
class HostCase:
    """A learner that methods attach to, and what it shows them.

    Args:
        make: the learner with methods, not yet prepared.
        stream: two experiences.
        kind, provides: as the host says; a test holds them equal.
        encoder: makes the encoder.
    """

    make: Callable[..., Any]
    stream: Callable[[], Stream]
    kind: str
    provides: frozenset[str]
    encoder: Callable[[], Encoder] = Identity

    def prepared(self, *methods: Method, **settings: Any) -> Any:
        return prepared(self.make(*methods), self.stream(), encoder=self.encoder(), **settings)


_NATIVE = frozenset(
    {"batch", "targets", "loss", "one_task", "boundaries", "native", "input_shape", "shares", "weights", "pass"}
)
_TASK_IDS = frozenset({"task_id", "task_id_everywhere"})
_LIBRARY = frozenset({"boundaries"})
_ACTING = frozenset({"batch", "one_task", "boundaries", "native", "transitions"})
_BEHAVIOUR = _ACTING | {"log_probs"}
_OFF_POLICY_HOST = _ACTING | {"off_policy"}
_AVALANCHE = frozenset({"batch", "targets", "loss", "boundaries"})

HOSTS: Mapping[str, HostCase] = {
    "classifier": HostCase(classifier, digit_stream, "categorical", _NATIVE, Scale),
    "classifier_sgd": HostCase(
        lambda *m: classifier(*m, optimizer=Sgd(lr=0.005, momentum=0.9)), digit_stream, "categorical", _NATIVE, Scale
    ),
    "classifier_task_ids": HostCase(
        classifier, lambda: digit_stream(task_ids=True), "categorical", _NATIVE | _TASK_IDS, Scale
    ),
    "regressor": HostCase(regressor, regression_stream, "values", _NATIVE, Scale),
    "autoencoder": HostCase(autoencoder, digit_stream, "reconstruction", _NATIVE, Scale),
    "avalanche": HostCase(
        lambda *m: avalanche(*m, strategy="Replay", mem_size=10), digit_stream, "categorical", _AVALANCHE, Scale
    ),
    "avalanche_heads": HostCase(
        lambda *m: avalanche(*m, network=heads_by_task()),
        lambda: digit_stream(task_ids=True),
        "categorical",
        _AVALANCHE | _TASK_IDS,
        Scale,
    ),
    "ppo": HostCase(lambda *m: ppo(*m, n_steps=24), lambda: cartpoles(120), "categorical", _BEHAVIOUR),
    "ppo_choices": HostCase(lambda *m: ppo(*m, n_steps=24), lambda: choosing(120), "multi_categorical", _BEHAVIOUR),
    "ppo_recurrent": HostCase(
        lambda *m: ppo(*m, n_steps=4, batch_size=48, recurrent=Recurrent(size=8)),
        lambda: cartpoles(480, num_envs=24),
        "multi_categorical",
        _ACTING - {"transitions"},
    ),
    "ppo_recurrent_continuous": HostCase(
        lambda *m: ppo(*m, n_steps=4, batch_size=48, recurrent=Recurrent(size=8)),
        lambda: pendulums(480, num_envs=24),
        "gaussian",
        _ACTING - {"transitions"},
    ),
    "ppo_continuous": HostCase(lambda *m: ppo(*m, n_steps=24), lambda: pendulums(120), "gaussian", _BEHAVIOUR),
    "sb3_ppo": HostCase(lambda *m: sb3("PPO", *m), lambda: cartpoles(64), "categorical", _LIBRARY),
    "sb3_dqn": HostCase(lambda *m: sb3("DQN", *m), lambda: cartpoles(60), "values", _LIBRARY),
    "sb3_sac": HostCase(lambda *m: sb3("SAC", *m), lambda: pendulums(40), "gaussian", _LIBRARY),
    "dqn": HostCase(dqn, lambda: cartpoles(60), "values", _OFF_POLICY_HOST),
    "sac": HostCase(sac, lambda: pendulums(40), "gaussian", _OFF_POLICY_HOST | {"critic"}),
    "td3": HostCase(td3, lambda: pendulums(40), "values", _OFF_POLICY_HOST | {"critic"}),
}


def write_idx(path: Path, array: np.ndarray) -> None:
    """The IDX format of LeCun: two zeros, 8 for uint8, the number of dimensions, the dimensions, the bytes."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_mnist(root: Path) -> dict[str, np.ndarray]:
    """Twenty images a split; image i of the training set is i everywhere but for a last pixel of 255."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    images = np.repeat(np.arange(20), 28 * 28).reshape(20, 28, 28)
    images[:, 27, 27] = 255
    arrays = dict(zip(IDX_FILES, (images, np.arange(20) % 10, images[::-1], np.arange(20)[::-1] % 10), strict=True))
    for name, array in arrays.items():
        write_idx(folder / name, array)
    return arrays
