"""Training of a candidate: a learner that resumes from a bundle's state with one more experience."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen
from rich.console import Console

from rlcl.errors import CheckpointError, UnsupportedError
from rlcl.experiment import Experiment
from rlcl.launch.build import make_trainer
from rlcl.launch.file_paths import with_absolute_paths
from rlcl.launch.restored_run import RestoredRun
from rlcl.registry import name_of
from rlcl.seeding import Seeds, seed_globals
from rlcl.sinks.progress import progress_for
from rlcl.streams.visibility import learner_view
from rlcl.training.trainer import Trainer
from rlcl.types import Budgeted, Experience, Exportable, Stream

__all__ = ["Candidate", "train_candidate"]


@frozen(eq=False)
class Candidate:
    """Learner after an update.

    Args:
        restored: learner in the form of a restored run, for the export.
        experience: experience that it was trained on.
    """

    restored: RestoredRun
    experience: Experience


def train_candidate(
    experiment: Experiment,
    seed: int,
    stream: Stream,
    state: Mapping[str, Any],
    number: int,
    console: Console,
    known_classes: Sequence[str],
    files: Mapping[str, str] | None = None,
) -> Candidate:
    """Load the state of a bundle into a learner of the extended stream, and train it on the last experience.

    Training is deterministic: the same state, experience and seed result in the same candidate.

    Args:
        experiment: experiment with the changes of this update.
        seed: seed of the run.
        stream: stream whose last experience is the new data.
        state: state of the bundle's learner.
        number: number of updates, including this one.
        console: console for progress messages.
        known_classes: class names of the deployed model.
        files: where those that the config names are, see :func:`rlcl.launch.file_paths.absolute_file_paths`.

    Raises:
        CheckpointError: the state does not fit the learner of the config.
        UnsupportedError: the learner takes no more classes, its network does not grow, or a memory was to be of another
            size.
    """
    trainer = make_trainer(attrs.evolve(with_absolute_paths(experiment, files or {}), device="cpu"), seed, stream)
    learner: Any = trainer.learner
    _check_classes(learner, stream, known_classes)
    initial_state = learner.state_dict()
    state = dict(state)
    if len(state.get("methods", [])) != len(initial_state.get("methods", [])):
        state["methods"] = initial_state["methods"]  # methods changed for this update start from their initial states
    if isinstance(learner, Exportable):
        state = learner.grown(state)
    _check_memories(state, initial_state)
    state = _with_configured_options(state, initial_state)
    try:
        learner.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"the bundle's state does not match the configured learner {name_of('learner', learner)} ({reason}); "
            "remove the changes of its network, optimizer or methods"
        ) from error
    seed_globals(Seeds(seed).child(f"update {number}"))
    experience = attrs.evolve(learner_view(trainer.stream)[len(trainer.stream) - 1], index=learner.position.experience)
    _train(trainer, experience, console)
    return Candidate(RestoredRun(experiment, trainer, learner.state_dict()), stream.evaluated[-1])


def _check_classes(learner: Any, stream: Stream, known: Sequence[str]) -> None:
    """Check that the learner can be extended by new classes, if there are any."""
    new = stream.spec.class_names[len(known) :] if known else ()
    if new and not (isinstance(learner, Exportable) and learner.grows):
        raise UnsupportedError(
            f"learner {name_of('learner', learner)} cannot take more classes, and the new rows have the unknown "
            f"classes {', '.join(new)} (known classes: {', '.join(known)}); remove these rows, or run a new "
            "experiment with all classes"
        )


def _check_memories(state: Any, initial: Any) -> None:
    """Check that the config does not change the capacity of a memory; the stored capacity would override it."""
    if isinstance(state, list) and isinstance(initial, list):
        for stored_item, initial_item in zip(state, initial, strict=False):
            _check_memories(stored_item, initial_item)
    if not isinstance(state, Mapping) or not isinstance(initial, Mapping):
        return
    if {"seen", "capacity", "columns"} <= state.keys():
        stored, configured = state["capacity"], initial.get("capacity")
        if None not in (stored, configured) and stored != configured:
            raise UnsupportedError(
                f"the capacity of a memory of {stored:,} examples cannot be changed to {configured:,} by an update; "
                "remove the change of its capacity"
            )
    else:
        for key in state.keys() & initial.keys():
            _check_memories(state[key], initial[key])


def _with_configured_options(state: Any, initial: Any) -> Any:
    """Return the state with the optimizer options of the config, such as learning rates, instead of the stored ones."""
    if not isinstance(state, Mapping) or not isinstance(initial, Mapping):
        return state
    if set(state) == set(initial) == {"state", "param_groups"} and len(state["param_groups"]) == len(
        initial["param_groups"]
    ):
        return {**state, "param_groups": initial["param_groups"]}
    return {key: _with_configured_options(value, initial.get(key)) for key, value in state.items()}


def _train(trainer: Trainer, experience: Experience, console: Console) -> None:
    learner = trainer.learner
    steps = learner.steps(experience) if isinstance(learner, Budgeted) else None
    start = learner.position.step
    progress = progress_for(console, "update", [experience.name], list(learner.measures), steps)
    try:
        for event in learner.learn(experience):
            if event is not None:
                progress.write(attrs.evolve(event, step=event.step - start))
            progress.step(learner.position.step - start, 0)
    finally:
        progress.close()
    if learner.position.learning:
        raise UnsupportedError(f"learner {name_of('learner', learner)} stopped before the end of its experience")
