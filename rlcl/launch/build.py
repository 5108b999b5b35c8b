"""Construction of stream and trainer from an experiment, with checks that the components are compatible."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from rlcl.config import build
from rlcl.errors import ConfigError, Problem, UnsupportedError, did_you_mean
from rlcl.evaluation.results import measure_named, reported_metrics
from rlcl.experiment import Experiment
from rlcl.launch.initial_state import InitialState
from rlcl.launch.memory_errors import memory_errors
from rlcl.learners.fast.batched_seeds import check_batched_seeds
from rlcl.process_group import process_group
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream, check_classes, check_sources
from rlcl.threads import set_threads
from rlcl.training.trainer import Trainer
from rlcl.types import Stream as AnyStream

__all__ = ["make_stream", "make_trainer", "resolve_device"]


def resolve_device(name: str) -> str:
    """Return the device for a setting; ``auto`` is CUDA if available, else the CPU.

    Each process of a data-parallel run has its own GPU.

    Raises:
        UnsupportedError: the CUDA device does not exist.
    """
    group = process_group()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and group.size > 1:
        name = f"cuda:{group.local_rank}"
    if name.startswith("cuda"):
        index = int(name.partition(":")[2] or 0)
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise UnsupportedError(f"device: {name} does not exist ({torch.cuda.device_count()} CUDA devices); use cpu")
    return name


def make_stream(experiment: Experiment, seed: int) -> Stream:
    """Make the experiment's stream for one seed, and check its environments before training.

    Raises:
        RlclError: data are missing or malformed, or an environment violates the API.
    """
    with memory_errors(experiment):
        return _stream(experiment, seed)


def _stream(experiment: Experiment, seed: int) -> Stream:
    seeds = Seeds(seed).child("stream")
    stream: Any = _call_at_key("stream", lambda: build(experiment.stream, ("stream",)).make(seeds, experiment.budget))
    if not isinstance(stream, Stream):
        raise UnsupportedError(f"stream: make() must return rlcl.streams.stream.Stream, got {type(stream).__name__}")
    if [e.index for e in stream] != list(range(len(stream))) or not len(stream):
        indices = ", ".join(str(e.index) for e in stream) or "no experience"
        raise UnsupportedError(f"stream: its experiences must have consecutive indices from 0, got {indices}")
    checked: set[str] = set()
    for experience in (*stream, *stream.evaluated):
        source = experience.train
        if source.kind == "environment" and source.recipe not in checked:
            checked.add(source.recipe)
            source.check()
    complete_stream: Stream = stream.with_validation(experiment.validation, seeds)
    if experiment.evaluation.split == "validation" and experiment.validation:
        complete_stream = _call_at_key("", complete_stream.without_test)  # nothing of this run can use the test data
    if experiment.first is not None:
        complete_stream = _call_at_key("", lambda: complete_stream.first(experiment.first))
    check_sources(complete_stream)
    check_classes(complete_stream)
    return complete_stream


def make_trainer(
    experiment: Experiment, seed: int, stream: AnyStream | None = None, start: InitialState | None = None
) -> Trainer:
    """Build the trainer of one run with all components.

    Args:
        experiment: the config.
        seed: the seed of the run.
        stream: the stream from :func:`make_stream`; built here by default.
        start: the initial state of the learner from :func:`rlcl.launch.initial_state.load_initial_state`; None for
            fresh weights, or if a state is loaded afterwards.

    Raises:
        RlclError: the components are not compatible.
    """
    stream = make_stream(experiment, seed) if stream is None else stream
    with memory_errors(experiment):
        return _trainer(experiment, seed, stream, start)


def _trainer(experiment: Experiment, seed: int, stream: AnyStream, start: InitialState | None) -> Trainer:
    set_threads(experiment.threads)
    learner = build(experiment.learner, ("learner",))
    encoder = build(experiment.encoder, ("encoder",))
    if experiment.evaluation.split == "validation" and experiment.validation == 0 and stream.spec.kind != "environment":
        raise ConfigError(["evaluation.split: validation needs a validation split; set validation, for example to 0.1"])
    trainer: Trainer = _call_at_key(
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
        start.restore_encoder(trainer.encoder, stream)
    if experiment.batched_seeds:
        check_batched_seeds(learner, experiment.boundary)
    _call_at_key("", lambda: reported_metrics(trainer.measures, experiment.evaluation.metrics))
    _check_criteria(experiment, trainer.measures, len(stream.evaluated))
    return trainer


def _check_criteria(experiment: Experiment, measures: Sequence[str], experiences: int) -> None:
    """Check that the conditions of success refer to existing metrics, measures and experiences.

    Raises:
        ConfigError: some of them do not.
    """
    criteria = () if experiment.objective is None else experiment.objective.criteria
    known = {
        "metric": reported_metrics(measures, experiment.evaluation.metrics),
        "measure": [measure_named(measure).name for measure in measures],
    }
    problems = []
    for index, criterion in enumerate(criteria):
        kind = "metric" if criterion.experience is None else "measure"
        where, name = f"objective.success[{index}]", criterion.metric
        if name not in known[kind]:
            problems.append(f"{where}: no {kind} {name!r}{did_you_mean(name, known[kind])}")
        elif isinstance(criterion.experience, int) and criterion.experience >= experiences:
            problems.append(
                f"{where}: no experience {criterion.experience} to evaluate; there are {experiences}, counted from 0"
            )
    if problems:
        raise ConfigError(problems)


def _call_at_key(key: str, function: Any) -> Any:
    """Call a function, and turn a Problem into a ConfigError that names the key."""
    try:
        return function()
    except Problem as error:
        message = str(error)
        has_key = re.match(r"[a-z_]+(\[\d+\])?(\.[a-z_]+(\[\d+\])?)*: ", message)
        separator = "." if has_key else ": "
        raise ConfigError([f"{key}{separator}{message}" if key and not error.where else message]) from error
