"""A learner that goes on from a bundle's state with one more experience."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen
from rich.console import Console

from rlcl.errors import CheckpointError, UnsupportedError
from rlcl.experiment import Experiment
from rlcl.launch.build import make_trainer
from rlcl.launch.located import located
from rlcl.launch.restored import Restored
from rlcl.registry import name_of
from rlcl.seeding import Seeds, seed_globals
from rlcl.sinks.progress import progress_for
from rlcl.streams.visible import visible
from rlcl.training.trainer import Trainer
from rlcl.types import Budgeted, Experience, Exportable, Stream

__all__ = ["Candidate", "learned"]


@frozen(eq=False)
class Candidate:
    """A learner after its update.

    Args:
        restored: as a run that has been restored, to be exported.
        experience: that it has learned.
    """

    restored: Restored
    experience: Experience


def learned(
    experiment: Experiment,
    seed: int,
    stream: Stream,
    state: Mapping[str, Any],
    number: int,
    console: Console,
    known: Sequence[str],
    files: Mapping[str, str] | None = None,
) -> Candidate:
    """Loads a state into a learner of a stream that has grown, and trains it on the last experience.

    The same state, experience and seed give the same candidate.

    Args:
        experiment: the config, with the changes of this update.
        seed: of the run.
        stream: the last experience is new.
        state: of the learner, before.
        number: how many updates there have been, with this one.
        console: progress goes there.
        known: names of the classes of the model that answers now.
        files: where those that the config names are, see :func:`rlcl.launch.located.file_places`.

    Raises:
        CheckpointError: the state does not fit the learner of the config.
        UnsupportedError: the learner takes no more classes, its network does not grow, or a memory was to be of another
            size.
    """
    trainer = make_trainer(attrs.evolve(located(experiment, files or {}), device="cpu"), seed, stream)
    learner: Any = trainer.learner
    _check_classes(learner, stream, known)
    fresh = learner.state_dict()
    state = dict(state)
    if len(state.get("methods", [])) != len(fresh.get("methods", [])):
        state["methods"] = fresh["methods"]  # changed for this update, they begin anew
    if isinstance(learner, Exportable):
        state = learner.grown(state)
    _check_memories(state, fresh)
    state = _as_configured(state, fresh)
    try:
        learner.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"the bundle's state does not fit learner {name_of('learner', learner)} as it is configured now "
            f"({reason}); leave out changes of its network, optimizer or methods"
        ) from error
    seed_globals(Seeds(seed).child(f"update {number}"))
    experience = attrs.evolve(visible(trainer.stream)[len(trainer.stream) - 1], index=learner.position.experience)
    _learn(trainer, experience, console)
    return Candidate(Restored(experiment, trainer, learner.state_dict()), stream.evaluated[-1])


def _check_classes(learner: Any, stream: Stream, known: Sequence[str]) -> None:
    """Refuses new classes for a learner that says that it takes none."""
    new = stream.spec.class_names[len(known) :] if known else ()
    if new and not (isinstance(learner, Exportable) and learner.grows):
        raise UnsupportedError(
            f"learner {name_of('learner', learner)} cannot take more classes, and the new rows have {', '.join(new)}, "
            f"which the model does not know (it knows {', '.join(known)}); leave those rows out, or run a new "
            "experiment with all classes"
        )


def _check_memories(state: Any, fresh: Any) -> None:
    """Refuses another capacity than a memory has: it would go on with its own, and nobody be told."""
    if isinstance(state, list) and isinstance(fresh, list):
        for one, other in zip(state, fresh, strict=False):
            _check_memories(one, other)
    if not isinstance(state, Mapping) or not isinstance(fresh, Mapping):
        return
    if {"seen", "capacity", "columns"} <= state.keys():
        now, asked = state["capacity"], fresh.get("capacity")
        if None not in (now, asked) and now != asked:
            raise UnsupportedError(
                f"a memory of {now:,} examples goes on as it is, and cannot become one of {asked:,}; leave out the "
                "change of its capacity"
            )
    else:
        for key in state.keys() & fresh.keys():
            _check_memories(state[key], fresh[key])


def _as_configured(state: Any, fresh: Any) -> Any:
    """The state with the optimizers' options (learning rates among them) of the config, which a state holds as well."""
    if not isinstance(state, Mapping) or not isinstance(fresh, Mapping):
        return state
    if set(state) == set(fresh) == {"state", "param_groups"} and len(state["param_groups"]) == len(
        fresh["param_groups"]
    ):
        return {**state, "param_groups": fresh["param_groups"]}
    return {key: _as_configured(value, fresh.get(key)) for key, value in state.items()}


def _learn(trainer: Trainer, experience: Experience, console: Console) -> None:
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
        raise UnsupportedError(f"learner {name_of('learner', learner)} ended before its experience did")
