"""From an experiment to a trainer: every component built, checked and joined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from rlcl.config import build
from rlcl.errors import ConfigError, Problem, UnsupportedError, did_you_mean
from rlcl.evaluation.results import measure_named, reported
from rlcl.experiment import Experiment
from rlcl.launch.initial import Start
from rlcl.launch.sizes import memory_told
from rlcl.learners.fast.batched_seeds import check_batched_seeds
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream, check_classes, check_sources
from rlcl.training.trainer import Trainer
from rlcl.types import Stream as AnyStream

__all__ = ["make_stream", "make_trainer", "resolve_device"]


def resolve_device(name: str) -> str:
    """``auto`` is CUDA where there is any.

    Raises:
        UnsupportedError: a CUDA device that is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        index = int(name.partition(":")[2] or 0)
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise UnsupportedError(f"device: {name} is not there ({torch.cuda.device_count()} CUDA devices); use cpu")
    return name


def make_stream(experiment: Experiment, seed: int) -> Stream:
    """The experiment's stream under one seed; environments are tried before anything is trained.

    Raises:
        RlclError: data that is missing or malformed, or an environment that breaks the API.
    """
    with memory_told(experiment):
        return _stream(experiment, seed)


def _stream(experiment: Experiment, seed: int) -> Stream:
    seeds = Seeds(seed).child("stream")
    stream: Any = _named("stream", lambda: build(experiment.stream, ("stream",)).make(seeds, experiment.budget))
    if not isinstance(stream, Stream):
        found = type(stream).__name__
        raise UnsupportedError(f"stream: make() must return rlcl.streams.stream.Stream, got {found}")
    if [e.index for e in stream] != list(range(len(stream))) or not len(stream):
        found = ", ".join(str(e.index) for e in stream) or "no experience"
        raise UnsupportedError(f"stream: its experiences must be numbered from 0, one after the other; got {found}")
    tried: set[str] = set()
    for experience in stream:
        source = experience.train
        if source.kind == "environment":
            recipe = repr((source.env, source.kwargs, source.attributes))
            if recipe not in tried:
                tried.add(recipe)
                source.check()
    made: Stream = stream.with_validation(experiment.validation, seeds)
    check_sources(made)
    check_classes(made)
    return made


def make_trainer(
    experiment: Experiment, seed: int, stream: AnyStream | None = None, start: Start | None = None
) -> Trainer:
    """Builds everything that one run is made of.

    Args:
        experiment: the config.
        seed: of the run.
        stream: as :func:`make_stream` gave it; made here by default.
        start: what the learner begins with, as :func:`rlcl.launch.initial.start_of` gave it; None for fresh weights, or
            where a state is loaded afterwards.

    Raises:
        RlclError: components that do not go together, by name and reason.
    """
    stream = make_stream(experiment, seed) if stream is None else stream
    with memory_told(experiment):
        return _trainer(experiment, seed, stream, start)


def _trainer(experiment: Experiment, seed: int, stream: AnyStream, start: Start | None) -> Trainer:
    torch.set_num_threads(experiment.threads)
    learner = build(experiment.learner, ("learner",))
    encoder = build(experiment.encoder, ("encoder",))
    if experiment.evaluation.split == "validation" and experiment.validation == 0 and stream.spec.kind != "environment":
        raise ConfigError(["evaluation.split: validation needs a split; set validation, for example to 0.1"])
    trainer: Trainer = _named(
        "",
        lambda: Trainer(
            learner,
            stream,
            build(experiment.evaluation, ("evaluation",)),
            encoder=encoder,
            boundary=experiment.boundary,
            seed=seed,
            device=resolve_device(experiment.device),
            event_interval=experiment.event_interval,
            run=experiment.hash,
            initial=None if start is None else start.weights,
        ),
    )
    if start is not None:
        start.give_encoder(trainer.encoder, stream)
    if experiment.batched_seeds:
        check_batched_seeds(learner, experiment.boundary)
    _named("", lambda: reported(learner.measures, experiment.evaluation.metrics))
    _check_criteria(experiment, learner.measures, len(stream.evaluated))
    return trainer


def _check_criteria(experiment: Experiment, measures: Sequence[str], experiences: int) -> None:
    """Raises ConfigError for conditions of success on metrics, measures or experiences that there are not."""
    criteria = () if experiment.objective is None else experiment.objective.criteria
    known = {
        "metric": reported(measures, experiment.evaluation.metrics),
        "measure": [measure_named(measure).name for measure in measures],
    }
    wrong = []
    for index, criterion in enumerate(criteria):
        kind = "metric" if criterion.experience is None else "measure"
        where, name = f"objective.success[{index}]", criterion.metric
        if name not in known[kind]:
            wrong.append(f"{where}: no {kind} {name!r}{did_you_mean(name, known[kind])}")
        elif isinstance(criterion.experience, int) and criterion.experience >= experiences:
            wrong.append(
                f"{where}: no experience {criterion.experience} to evaluate; there are {experiences}, counted from 0"
            )
    if wrong:
        raise ConfigError(wrong)


def _named(place: str, make: Any) -> Any:
    """Calls, turning a Problem into a ConfigError that names the place."""
    try:
        return make()
    except Problem as error:
        message = str(error)
        inner = re.match(r"[a-z_]+(\[\d+\])?(\.[a-z_]+(\[\d+\])?)*: ", message)  # it begins with a key path
        joint = "." if inner else ": "
        raise ConfigError([f"{place}{joint}{message}" if place and not error.where else message]) from error
