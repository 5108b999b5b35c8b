"""A run's learner as its newest checkpoint left it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from rlcl.errors import CheckpointError, RunFolderError
from rlcl.experiment import Experiment, load_experiment
from rlcl.launch.build import make_stream, make_trainer
from rlcl.launch.located import located
from rlcl.tracking.runs import Run
from rlcl.training import checkpoint
from rlcl.training.trainer import Trainer

__all__ = ["Restored", "restore"]


@frozen(eq=False)
class Restored:
    """What a run left.

    Args:
        experiment: its config, as it was run, without sinks.
        trainer: on the CPU, with the learner's state loaded.
        state: of the learner, as the checkpoint holds it.
    """

    experiment: Experiment
    trainer: Trainer
    state: Mapping[str, Any]


def restore(run: Run) -> Restored:
    """Builds a run's learner from its config and loads its newest checkpoint, on the CPU.

    Raises:
        RunFolderError: the config cannot be read.
        CheckpointError: there is no checkpoint that is whole.
    """
    file = run.path / "config.yaml"
    if not file.is_file():
        raise RunFolderError(f"{run.path}: no config.yaml, so that its learner cannot be built; run it anew")
    experiment = load_experiment(file, ["sinks=[]"])  # which nothing here writes to, and may not be installed
    here = attrs.evolve(located(experiment, run.manifest.get("files", {})), device="cpu")
    trainer = make_trainer(here, run.seed, make_stream(here, run.seed))
    found = checkpoint.load_newest(run.path / "checkpoints", lambda text: warnings.warn(text, stacklevel=2))
    if found is None:
        raise CheckpointError(f"{run.path} has no checkpoint; go on with it by rlcl run {file}")
    state = found[1]["trainer"]["learner"]
    trainer.learner.load_state_dict(state)
    return Restored(experiment, trainer, state)
