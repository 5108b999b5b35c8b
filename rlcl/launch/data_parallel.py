"""Runs of several processes that ``torchrun`` started: process 0 writes the run, and the others follow it."""

from __future__ import annotations

import json
import sys
import warnings
import zlib

from safetensors.torch import load, save

from rlcl.config import unstructure
from rlcl.errors import DivergenceError
from rlcl.experiment import Experiment, experiment_from
from rlcl.launch.build import make_trainer
from rlcl.launch.signals import StopSignal, catch_signals
from rlcl.process_group import ProcessGroup, ProcessGroupError, process_group
from rlcl.state import flatten, unflatten
from rlcl.training.trainer import Item, Trainer
from rlcl.types import Boundary, Dividing, Record

__all__ = ["agreed_signal", "follow", "lead"]


def lead(experiment: Experiment, trainer: Trainer) -> None:
    """Send a run with the state of its trainer to the other processes, which then follow it.

    It has no effect in a process that is alone.
    """
    group = process_group()
    if group.size == 1:
        return
    content = {"config": unstructure(experiment), "seed": trainer.seed, "state": trainer.state_dict()}
    structure, tensors = flatten(content)
    group.broadcast(json.dumps(structure).encode())
    group.broadcast(save(tensors))


def follow(group: ProcessGroup) -> None:
    """Take part in the training of the runs that process 0 leads, until it has finished all of them."""
    warnings.simplefilter("ignore")  # process 0 prints them
    with catch_signals() as stop:
        while structure := _next_run(group):
            content = unflatten(json.loads(structure), load(group.broadcast()))
            trainer = make_trainer(experiment_from(content["config"]), content["seed"])
            trainer.load_state_dict(content["state"])
            try:
                for item in trainer.events():
                    if not isinstance(item, Record) and agreed_signal(stop, trainer, item) is not None:
                        break
            except DivergenceError:
                continue  # process 0 reports it


def _next_run(group: ProcessGroup) -> bytes:
    """Return the next run that process 0 leads; end this process if process 0 has ended with an error."""
    try:
        return group.broadcast()
    except ProcessGroupError:
        sys.exit(1)


def agreed_signal(stop: StopSignal, trainer: Trainer, item: Item) -> int | None:
    """Return the number of the signal that one of the processes has received, or None.

    All processes call it for the same events, so that all of them stop at the same step.

    Args:
        stop: the signal that this process has received.
        trainer: the trainer of the run.
        item: the event.

    Raises:
        ProcessGroupError: another process has ended, or is at another step or has other weights.
    """
    group = process_group()
    if group.size == 1:
        return stop.signum
    state = _fingerprint(trainer, isinstance(item, Boundary))
    signum, highest, lowest = group.maximum(stop.signum or 0, state, -state)
    if highest != -lowest:
        raise ProcessGroupError(
            f"the processes of this run differ after step {trainer.learner.position.step:,}: they train on different "
            "data, or on machines that compute different results; start them on equal machines with the same files"
        )
    return signum or None


def _fingerprint(trainer: Trainer, weights: bool) -> int:
    """Return a checksum of the learner's position and, if asked for, of its weights."""
    position = trainer.learner.position
    value = zlib.crc32(repr(position).encode())
    if weights and isinstance(trainer.learner, Dividing):
        _, tensors = flatten({name: dict(m.state_dict()) for name, m in trainer.learner.modules.items()})
        value = zlib.crc32(save(tensors), value)
    return value
