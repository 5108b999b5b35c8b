"""Batched runs of all seeds of an online regression, equal to separate runs up to rounding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from rich.console import Console
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from rlcl.config import build
from rlcl.encoders.identity import Identity
from rlcl.errors import DivergenceError, UnsupportedError
from rlcl.evaluation.outcome import Outcome
from rlcl.evaluation.probe_runner import ProbeRunner
from rlcl.experiment import Experiment
from rlcl.launch.build import make_stream, make_trainer
from rlcl.learners.optimizers import Sgd
from rlcl.learners.shuffle import Shuffle
from rlcl.learners.supervised.regressor import Regressor
from rlcl.methods.continual_backprop import ContinualBackprop
from rlcl.methods.parts.hidden_units import hidden_layers
from rlcl.methods.shrink_and_perturb import ShrinkAndPerturb
from rlcl.networks.mlp import Linear, Mlp, fresh_weights
from rlcl.reproduction.online_regression import (
    Array,
    ContinualBackpropEdit,
    HiddenLayerRegressions,
    LinearRegressions,
    ShrinkAndPerturbEdit,
    WeightEdit,
)
from rlcl.reproduction.types import ReproductionRun, SideResult
from rlcl.seeding import Seeds
from rlcl.streams.visibility import learner_view
from rlcl.strict_json import json_text
from rlcl.tracking.folder import disk_errors, write_atomically
from rlcl.tracking.json_files import read_json
from rlcl.tracking.manifest import manifest
from rlcl.training.trainer import Trainer
from rlcl.types import Record, Stream

__all__ = ["batched_networks", "run_seeds_together", "unsupported_reason"]

MEASURE = "squared_error"
ONLINE = f"{MEASURE}.online"


def run_seeds_together(experiment: Experiment, root: Path, console: Console) -> SideResult:
    """Run the missing seeds of an experiment at once, and read the finished ones.

    Each seed starts with the same stream, weights, order of examples and generators as with ``rlcl run``. Its
    records are the online error of each experience, and the values of the probes after the last one. They are
    stored in ``<root>/<name>/<hash>/together/seed<k>.json``.

    Args:
        experiment: an experiment for which :func:`unsupported_reason` returns None.
        root: the folder of all runs.
        console: console for the progress.

    Raises:
        UnsupportedError: the experiment is not supported.
        DivergenceError: a weight is no longer finite.
    """
    folder = root / experiment.name / experiment.hash / "together"
    files = {seed: folder / f"seed{seed}.json" for seed in experiment.seeds}
    missing = [seed for seed, file in files.items() if "records" not in read_json(file)]
    if missing:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for seed, content in _run(experiment, missing, console).items():
                write_atomically(files[seed], json_text(content) + "\n")
    contents = {file: read_json(file) for file in files.values()}
    runs = [
        ReproductionRun(outcome=Outcome(_records(content), (MEASURE,)), path=file, seconds=content["seconds"])
        for file, content in contents.items()
    ]
    return SideResult(experiment=experiment, runs=tuple(runs), git=next(iter(contents.values()))["manifest"]["git"])


def _records(content: Mapping[str, Any]) -> tuple[Record, ...]:
    return tuple(Record(**record) for record in content["records"])


def _run(experiment: Experiment, seeds: Sequence[int], console: Console) -> dict[int, dict[str, Any]]:
    """Run seeds at once, and return the content of each seed's file."""
    if (reason := unsupported_reason(experiment)) is not None:
        raise UnsupportedError(f"together: {reason}")
    started = time.perf_counter()
    streams = [make_stream(experiment, seed) for seed in seeds]
    _check(streams[0], experiment)
    trainers = [make_trainer(experiment, seed, stream) for seed, stream in zip(seeds, streams, strict=True)]
    networks = batched_networks([trainer.learner for trainer in trainers])
    records = {seed: list[Record]() for seed in seeds}
    for index, step, online in _experiences(networks, trainers):
        _check_finite(networks.theta, experiment, seeds, index)
        for seed, value in zip(seeds, online, strict=True):
            records[seed].append(Record(experiment.hash, seed, step, index, index, ONLINE, value))
        if (index + 1) % max(len(streams[0]) // 10, 1) == 0:
            console.print(
                f"{experiment.name}, {len(seeds)} seeds together  experience {index + 1}/{len(streams[0])}  "
                f"step {step:,}  {ONLINE}: {np.mean(online):.4f}",
            )
    for seed, theta, trainer in zip(seeds, networks.theta, trainers, strict=True):
        probe_values = _probe_values(trainer, theta, index)
        records[seed] += [
            Record(experiment.hash, seed, step, index, index, name, value) for name, value in probe_values.items()
        ]
    seconds = (time.perf_counter() - started) / len(seeds)
    return {
        seed: {
            "records": [attrs.asdict(record) for record in records[seed]],
            "seconds": seconds,
            "manifest": manifest(stream, seed, experiment.threads, "cpu"),
        }
        for seed, stream in zip(seeds, streams, strict=True)
    }


def _experiences(
    networks: LinearRegressions | HiddenLayerRegressions, trainers: Sequence[Trainer]
) -> Iterator[tuple[int, int, Sequence[float]]]:
    """Train on each experience; yield its index, the steps at its end, and the mean squared error of each run."""
    shuffles, step = [_shuffle(trainer.learner) for trainer in trainers], 0
    for index in range(len(trainers[0].stream)):
        x, y = _examples([trainer.stream[index].train for trainer in trainers], shuffles)
        errors = np.stack([networks.step(*example) for example in zip(x, y, strict=True)])
        step += len(x)
        # A mean over an axis would be summed in an order that depends on the number of runs.
        yield index, step, [float(np.square(error, dtype=np.float64).mean()) for error in errors.T.copy()]


def _probe_values(trainer: Trainer, theta: Array, index: int) -> dict[str, float]:
    """Compute the probes of the evaluation plan for weights (P,) after the last experience, like the trainer."""
    learner: Any = trainer.learner
    vector_to_parameters(torch.from_numpy(theta), learner.module.parameters())
    parts = [part for experience in learner_view(trainer.stream) for part in experience.parts]
    seeds = Seeds(trainer.seed).child("probes")
    return ProbeRunner(learner, trainer.evaluation, parts, trainer.encoder, seeds).run(index)


def _check(stream: Stream, experiment: Experiment) -> None:
    spec = stream.spec
    if (spec.kind, len(spec.observation_shape), spec.targets) != ("regression", 1, 1) or experiment.budget.epochs != 1:
        raise UnsupportedError(
            "together: only regression streams of vectors with one target are supported, for one epoch; set budget: "
            f"{{epochs: 1}} and a stream other than {experiment.stream.type}, or remove together"
        )


def _check_finite(theta: Array, experiment: Experiment, seeds: Sequence[int], index: int) -> None:
    diverged = [seed for seed, weights in zip(seeds, theta, strict=True) if not np.isfinite(weights).all()]
    if diverged:
        raise DivergenceError(
            f"a weight of {experiment.name}, seed {diverged[0]}, is not finite by the end of experience {index}; lower "
            "learner.optimizer.lr"
        )


def _examples(sources: Sequence[Any], shuffles: Sequence[Shuffle]) -> tuple[Array, Array]:
    """Return inputs (T, R, m) and targets (T, R) of one experience of all runs, each in the order of its learner.

    Args:
        sources: one source per run, with T labelled rows.
        shuffles: one shuffle per run; each advances by one epoch.
    """
    inputs, targets = [], []
    for source, shuffle in zip(sources, shuffles, strict=True):
        x, y = source.read()
        (order,) = shuffle.batches(len(x), len(x), drop_last=False, updates=1)
        inputs.append(x[order].float().numpy())
        targets.append(y[order][:, 0].numpy())
    return np.stack(inputs, axis=1), np.stack(targets, axis=1)


def _shuffle(learner: Any) -> Shuffle:
    """Return a copy of the learner's shuffle."""
    shuffle = Shuffle(torch.Generator())
    shuffle.load_state_dict(learner.state_dict()["shuffle"])
    return shuffle


def batched_networks(learners: Sequence[Any]) -> LinearRegressions | HiddenLayerRegressions:
    """Combine the networks and methods of prepared regressors with the same settings.

    Args:
        learners: the regressors; they do not change, since the generators of their methods are copied.
    """
    first = learners[0]
    with torch.no_grad():
        theta = np.stack([parameters_to_vector(learner.module.parameters()).numpy() for learner in learners])
    rates = {"lr": first.optimizer.lr, "weight_decay": first.optimizer.weight_decay}
    edits = [_edit([learner.methods[i] for learner in learners], learners) for i in range(len(first.methods))]
    if isinstance(first.network, Linear):
        return LinearRegressions(theta=theta, edits=edits, **rates)
    return HiddenLayerRegressions(theta=theta, inputs=first.host.input_shape[0], edits=edits, **rates)


def _edit(methods: Sequence[Any], learners: Sequence[Any]) -> WeightEdit:
    """Return the weight edit of all runs that corresponds to a method."""
    first = methods[0]
    if isinstance(first, ShrinkAndPerturb):
        return ShrinkAndPerturbEdit([_generator(method) for method in methods], first.decay, first.noise)
    return ContinualBackpropEdit(
        redraws=[_redraw(learner, _generator(m)) for learner, m in zip(learners, methods, strict=True)],
        units=learners[0].network.hidden[0],
        rate=first.replacement_rate,
        maturity=first.maturity,
        decay=first.decay,
    )


def _generator(method: Any) -> np.random.Generator:
    """Return a copy of the method's generator."""
    rng = np.random.default_rng()
    rng.bit_generator.state = method.state_dict()["rng"]
    return rng


def _redraw(learner: Any, rng: np.random.Generator) -> Callable[[], tuple[Array, Array]]:
    """Return a function that samples fresh weights and biases of the hidden layer."""
    (layer,) = hidden_layers(learner.module)

    def redraw() -> tuple[Array, Array]:
        fresh = fresh_weights(layer.incoming, torch.Generator().manual_seed(int(rng.integers(2**62))))
        return fresh["weight"].numpy(), fresh["bias"].numpy()

    return redraw


def unsupported_reason(experiment: Experiment) -> str | None:
    """Return why the seeds of an experiment cannot be batched; None if they can."""
    learner = build(experiment.learner, ("learner",))
    network: Any = getattr(learner, "network", None)
    sgd: Any = getattr(learner, "optimizer", None)
    methods: Any = getattr(learner, "methods", ())
    supported_types: list[tuple[str, Any, Any]] = [
        ("encoder", build(experiment.encoder, ("encoder",)), Identity),
        ("learner", learner, Regressor),
        ("learner.network", network, Mlp | Linear),
        ("learner.optimizer", sgd, Sgd),
        *(("learner.methods", method, ShrinkAndPerturb | ContinualBackprop) for method in methods),
    ]
    if unsupported := [key for key, component, types in supported_types if not isinstance(component, types)]:
        return (
            f"{unsupported[0]} is not supported; supported are regressors with a linear or mlp network and sgd, with "
            "shrink_and_perturb or continual_backprop, without an encoder; change it, or remove together"
        )
    plan = build(experiment.evaluation, ("evaluation",))
    required_settings: list[tuple[str, Any, Any]] = [
        ("learner", learner, Regressor(network=network, optimizer=sgd, methods=methods, batch_size=1)),
        ("learner.network", network, _supported_network(network)),
        ("learner.optimizer", sgd, Sgd(lr=sgd.lr, weight_decay=sgd.weight_decay)),
        *(("learner.methods", m, attrs.evolve(m, every="update")) for m in methods if isinstance(m, ShrinkAndPerturb)),
        ("evaluation", plan, attrs.evolve(plan, every="end", before=False, split="test", online=True)),
        ("", experiment, attrs.evolve(experiment, validation=0.0, device="cpu")),
    ]
    differences = (_difference(key, component, required) for key, component, required in required_settings)
    return next(filter(None, differences), None)


def _supported_network(network: Any) -> Any:
    """Return a linear network unchanged, and an MLP reduced to one hidden layer without further settings."""
    if isinstance(network, Linear):
        return network
    return Mlp(hidden=network.hidden[:1] or (1,), initialization=network.initialization)


def _difference(key: str, component: Any, required: Any) -> str | None:
    """Return a message about the first setting that differs from the required one; None if there is none."""
    for setting in (field.name for field in attrs.fields(type(component)) if field.init):
        value, expected = getattr(component, setting), getattr(required, setting)
        if value != expected:
            return f"{key}.{setting}: expected {expected}, got {value}; change it, or remove together".removeprefix(".")
    return None
