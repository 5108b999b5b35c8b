"""All seeds of an online regression at once: to rounding, the runs that they would be one by one."""

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
from rlcl.evaluation.probing import Probing
from rlcl.experiment import Experiment
from rlcl.launch.build import make_stream, make_trainer
from rlcl.learners.optimizers import Sgd
from rlcl.learners.shuffle import Shuffle
from rlcl.learners.supervised.regressor import Regressor
from rlcl.methods.continual_backprop import ContinualBackprop
from rlcl.methods.parts.hidden_units import hidden_layers
from rlcl.methods.shrink_and_perturb import ShrinkAndPerturb
from rlcl.networks.mlp import Linear, Mlp, redrawn
from rlcl.reproduction.online_regression import Array, Edit, Lines, Networks, Perturbing, Replacing
from rlcl.reproduction.sides import Run, Side
from rlcl.seeding import Seeds
from rlcl.streams.visible import visible
from rlcl.strict_json import json_text
from rlcl.tracking.folder import disk_errors, write_atomically
from rlcl.tracking.json_files import read_json
from rlcl.tracking.manifest import manifest
from rlcl.training.trainer import Trainer
from rlcl.types import Record, Stream

__all__ = ["batched", "refusal", "run_together"]

MEASURE = "squared_error"
ONLINE = f"{MEASURE}.online"


def run_together(experiment: Experiment, root: Path, console: Console) -> Side:
    """Runs the seeds that are missing all at once, and reads the rest.

    Each seed begins with its own stream, weights, order of examples and generators, as ``rlcl run`` would. Its
    records are the online error of each experience, and what the probes tell after the last one; they are
    kept in ``<root>/<name>/<hash>/together/seed<k>.json``.

    Args:
        experiment: that :func:`refusal` finds nothing against.
        root: the folder of all runs.
        console: progress goes there.

    Raises:
        UnsupportedError: it is not one of those that step together.
        DivergenceError: a seed's error is no longer finite.
    """
    folder = root / experiment.name / experiment.hash / "together"
    files = {seed: folder / f"seed{seed}.json" for seed in experiment.seeds}
    missing = [seed for seed, file in files.items() if "records" not in read_json(file)]
    if missing:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for seed, found in _run(experiment, missing, console).items():
                write_atomically(files[seed], json_text(found) + "\n")
    kept = {file: read_json(file) for file in files.values()}
    runs = [
        Run(outcome=Outcome(_records(found), (MEASURE,)), path=file, seconds=found["seconds"])
        for file, found in kept.items()
    ]
    return Side(experiment=experiment, runs=tuple(runs), git=next(iter(kept.values()))["manifest"]["git"])


def _records(found: Mapping[str, Any]) -> tuple[Record, ...]:
    return tuple(Record(**record) for record in found["records"])


def _run(experiment: Experiment, seeds: Sequence[int], console: Console) -> dict[int, dict[str, Any]]:
    """What the file of each seed holds."""
    if (reason := refusal(experiment)) is not None:
        raise UnsupportedError(f"together: {reason}")
    started = time.perf_counter()
    streams = [make_stream(experiment, seed) for seed in seeds]
    _check(streams[0], experiment)
    trainers = [make_trainer(experiment, seed, stream) for seed, stream in zip(seeds, streams, strict=True)]
    networks = batched([trainer.learner for trainer in trainers])
    records = {seed: list[Record]() for seed in seeds}
    for index, step, online in _experiences(networks, trainers):
        _check_finite(networks.theta, experiment, seeds, index)
        for seed, value in zip(seeds, online, strict=True):
            records[seed].append(Record(experiment.hash, seed, step, index, index, ONLINE, value))
        if (index + 1) % max(len(streams[0]) // 10, 1) == 0:
            console.print(
                f"{experiment.name}, {len(seeds)} seeds together  experience {index + 1}/{len(streams[0])}  "
                f"step {step:,}  {ONLINE}: {np.mean(online):.4f}",
                highlight=False,
            )
    for seed, theta, trainer in zip(seeds, networks.theta, trainers, strict=True):
        told = _probed(trainer, theta, index)
        records[seed] += [
            Record(experiment.hash, seed, step, index, index, name, value) for name, value in told.items()
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


def _experiences(networks: Lines | Networks, trainers: Sequence[Trainer]) -> Iterator[tuple[int, int, Sequence[float]]]:
    """Of each experience: its index, the steps at its end, and the mean squared error of each run over it."""
    shuffles, step = [_shuffle(trainer.learner) for trainer in trainers], 0
    for index in range(len(trainers[0].stream)):
        x, y = _examples([trainer.stream[index].train for trainer in trainers], shuffles)
        errors = np.stack([networks.step(*example) for example in zip(x, y, strict=True)])
        step += len(x)
        # Each run's own mean: one over an axis adds up in an order that depends on how many runs there are.
        yield index, step, [float(np.square(error, dtype=np.float64).mean()) for error in errors.T.copy()]


def _probed(trainer: Trainer, theta: Array, index: int) -> dict[str, float]:
    """What the probes of the plan tell of weights (P,) after the last experience, as the trainer would ask them."""
    learner: Any = trainer.learner
    vector_to_parameters(torch.from_numpy(theta), learner.module.parameters())
    parts = [part for experience in visible(trainer.stream) for part in experience.parts]
    seeds = Seeds(trainer.seed).child("probes")
    return Probing(learner, trainer.evaluation, parts, trainer.encoder, seeds).look(index)


def _check(stream: Stream, experiment: Experiment) -> None:
    spec = stream.spec
    if (spec.kind, len(spec.observation_shape), spec.targets) != ("regression", 1, 1) or experiment.budget.epochs != 1:
        raise UnsupportedError(
            "together: it steps once through streams of vectors and one number to predict of each; set budget: "
            f"{{epochs: 1}} and another stream than {experiment.stream.type}, or leave out together"
        )


def _check_finite(theta: Array, experiment: Experiment, seeds: Sequence[int], index: int) -> None:
    lost = [seed for seed, row in zip(seeds, theta, strict=True) if not np.isfinite(row).all()]
    if lost:
        raise DivergenceError(
            f"a weight of {experiment.name}, seed {lost[0]}, is not finite by the end of experience {index}; lower "
            "learner.optimizer.lr"
        )


def _examples(sources: Sequence[Any], shuffles: Sequence[Shuffle]) -> tuple[Array, Array]:
    """Inputs (T, R, m) and targets (T, R) of one experience of every run, in the order in which its learner draws them.

    Args:
        sources: of T labelled rows each.
        shuffles: one a run; they go on.
    """
    inputs, targets = [], []
    for source, shuffle in zip(sources, shuffles, strict=True):
        x, y = source.read()
        (order,) = shuffle.batches(len(x), len(x), drop_last=False, updates=1)
        inputs.append(x[order].float().numpy())
        targets.append(y[order][:, 0].numpy())
    return np.stack(inputs, axis=1), np.stack(targets, axis=1)


def _shuffle(learner: Any) -> Shuffle:
    """An order of its own, the learner's."""
    shuffle = Shuffle(torch.Generator())
    shuffle.load_state_dict(learner.state_dict()["shuffle"])
    return shuffle


def batched(learners: Sequence[Any]) -> Lines | Networks:
    """The networks of prepared regressors of the same settings, with their methods, as one.

    Args:
        learners: they stay as they are; the same draws are made from copies of their methods' generators.
    """
    first = learners[0]
    with torch.no_grad():
        theta = np.stack([parameters_to_vector(learner.module.parameters()).numpy() for learner in learners])
    rates = {"lr": first.optimizer.lr, "weight_decay": first.optimizer.weight_decay}
    edits = [_edit([learner.methods[place] for learner in learners], learners) for place in range(len(first.methods))]
    if isinstance(first.network, Linear):
        return Lines(theta=theta, edits=edits, **rates)
    return Networks(theta=theta, inputs=first.host.input_shape[0], edits=edits, **rates)


def _edit(methods: Sequence[Any], learners: Sequence[Any]) -> Edit:
    """What a method does to all runs after a step."""
    first = methods[0]
    if isinstance(first, ShrinkAndPerturb):
        return Perturbing([_generator(method) for method in methods], first.decay, first.noise)
    return Replacing(
        redraws=[_redraw(learner, _generator(m)) for learner, m in zip(learners, methods, strict=True)],
        units=learners[0].network.hidden[0],
        rate=first.replacement_rate,
        maturity=first.maturity,
        decay=first.decay,
    )


def _generator(method: Any) -> np.random.Generator:
    """One that stands where the method's own does."""
    rng = np.random.default_rng()
    rng.bit_generator.state = method.state_dict()["rng"]
    return rng


def _redraw(learner: Any, rng: np.random.Generator) -> Callable[[], tuple[Array, Array]]:
    (layer,) = hidden_layers(learner.module)

    def redraw() -> tuple[Array, Array]:
        fresh = redrawn(layer.incoming, torch.Generator().manual_seed(int(rng.integers(2**62))))
        return fresh["weight"].numpy(), fresh["bias"].numpy()

    return redraw


def refusal(experiment: Experiment) -> str | None:
    """Why an experiment's seeds cannot step together, None where they can."""
    learner = build(experiment.learner, ("learner",))
    network: Any = getattr(learner, "network", None)
    sgd: Any = getattr(learner, "optimizer", None)
    methods: Any = getattr(learner, "methods", ())
    known: list[tuple[str, Any, Any]] = [
        ("encoder", build(experiment.encoder, ("encoder",)), Identity),
        ("learner", learner, Regressor),
        ("learner.network", network, Mlp | Linear),
        ("learner.optimizer", sgd, Sgd),
        *(("learner.methods", method, ShrinkAndPerturb | ContinualBackprop) for method in methods),
    ]
    if others := [key for key, found, served in known if not isinstance(found, served)]:
        return (
            f"{others[0]} is another than those that step together: regressors of a linear or mlp network under sgd, "
            "with shrink_and_perturb or continual_backprop, without an encoder; leave out together"
        )
    plan = build(experiment.evaluation, ("evaluation",))
    plain: list[tuple[str, Any, Any]] = [
        ("learner", learner, Regressor(network=network, optimizer=sgd, methods=methods, batch_size=1)),
        ("learner.network", network, _plain(network)),
        ("learner.optimizer", sgd, Sgd(lr=sgd.lr, weight_decay=sgd.weight_decay)),
        *(("learner.methods", m, attrs.evolve(m, every="update")) for m in methods if isinstance(m, ShrinkAndPerturb)),
        ("evaluation", plan, attrs.evolve(plan, every="end", before=False, split="test", online=True)),
        ("", experiment, attrs.evolve(experiment, validation=0.0, device="cpu")),
    ]
    return next((told for key, found, served in plain if (told := _differs(key, found, served))), None)


def _plain(network: Any) -> Any:
    """A line as it is; a network with one hidden layer, and nothing but it."""
    if isinstance(network, Linear):
        return network
    return Mlp(hidden=network.hidden[:1] or (1,), initialization=network.initialization)


def _differs(key: str, found: Any, served: Any) -> str | None:
    """The first setting in which one is not as it would have to be, in words."""
    for setting in (field.name for field in attrs.fields(type(found)) if field.init):
        have, want = getattr(found, setting), getattr(served, setting)
        if have != want:
            return f"{key}.{setting}: expected {want}, got {have}; change it, or leave out together".removeprefix(".")
    return None
