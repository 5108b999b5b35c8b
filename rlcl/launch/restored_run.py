"""Learner of a run restored from its newest checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from rlcl.errors import CheckpointError, RunFolderError
from rlcl.experiment import Experiment, load_experiment
from rlcl.launch.build import make_stream, make_trainer
from rlcl.launch.file_paths import with_absolute_paths
from rlcl.tracking.runs import StoredRun
from rlcl.training import checkpoint
from rlcl.training.trainer import Trainer

__all__ = ["RestoredRun", "restore_run"]


@frozen(eq=False)
class RestoredRun:
    """A restored run.

    Args:
        experiment: the config of the run, without sinks.
        trainer: a trainer on the CPU with the learner's state loaded.
        state: the state of the learner in the checkpoint.
    """

    experiment: Experiment
    trainer: Trainer
    state: Mapping[str, Any]


def restore_run(run: StoredRun) -> RestoredRun:
    """Build the learner of a run from its config and load its newest checkpoint, on the CPU.

    Raises:
        RunFolderError: the config cannot be read.
        CheckpointError: there is no intact checkpoint.
    """
    file = run.path / "config.yaml"
    if not file.is_file():
        raise RunFolderError(f"{run.path}: no config.yaml, so the learner cannot be built; repeat the run")
    experiment = load_experiment(file, ["sinks=[]"])  # sinks are not used here, and may not be installed
    local = attrs.evolve(with_absolute_paths(experiment, run.manifest.get("files", {})), device="cpu")
    trainer = make_trainer(local, run.seed, make_stream(local, run.seed))
    numbered_state = checkpoint.load_newest(run.path / "checkpoints", lambda text: warnings.warn(text, stacklevel=2))
    if numbered_state is None:
        raise CheckpointError(f"{run.path} has no checkpoint; resume the run with rlcl run {file}")
    state = numbered_state[1]["trainer"]["learner"]
    trainer.learner.load_state_dict(state)
    return RestoredRun(experiment, trainer, state)
