"""Encoder that uses the representation of a learner from an earlier run.

It is in this package because it builds a learner from a config and loads a checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import build, option
from rlcl.errors import CheckpointError, RunFolderError, UnsupportedError
from rlcl.experiment import Experiment, load_experiment
from rlcl.launch.build import make_trainer
from rlcl.launch.file_paths import with_absolute_paths
from rlcl.registry import name_of
from rlcl.seeding import preserved_global_state
from rlcl.state import flatten
from rlcl.threads import preserved_threads
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import state_of
from rlcl.training import checkpoint
from rlcl.types import Encoder, Host, Hosted, Representing, TaskIds

__all__ = ["Trained"]


@define(kw_only=True, eq=False)
class Trained(Encoder):
    """Encoder that returns the frozen representation of a learner from an earlier, finished run.

    The learner (``autoencoder``, ``vae``, ``barlow_twins``, ``simsiam``, or any with ``represent``) is
    built from the config of that run, which needs its data too, and its last checkpoint is loaded. The
    learner applies the encoder that it was trained with, so this encoder takes raw inputs; it computes on
    the CPU. The weights stay in the folder of the earlier run. The state is their checksum, and a run
    cannot be resumed with other weights.

    Args:
        run: folder of the earlier run, ``runs/NAME/HASH/seedN``, or a parent folder that contains no other run.
    """

    run: str = option()
    _learner: Any = field(init=False, default=None)
    _shape: tuple[int, ...] = field(init=False, default=())
    _checksum: str = field(init=False, default="")

    @property
    def learner(self) -> Any:
        """The learner of the earlier run, loaded at the first access."""
        if self._learner is None:
            self._load(_finished_run(Path(self.run).expanduser()))
        return self._learner

    def _load(self, folder: Path) -> None:
        files = read_json(folder / "manifest.json").get("files", {})
        experiment = with_absolute_paths(load_experiment(folder / "config.yaml", ["sinks=[]"]), files)
        experiment = attrs.evolve(experiment, device="cpu")
        learner = build(experiment.learner)
        if not isinstance(learner, Representing):
            raise UnsupportedError(
                f"encoder trained: {folder} trained the learner {name_of('learner', learner)}, which has no "
                "representation; autoencoder, vae, barlow_twins and simsiam have one"
            )
        numbered_state = checkpoint.load_newest(folder / "checkpoints", lambda text: warnings.warn(text, stacklevel=2))
        if numbered_state is None:
            raise CheckpointError(f"encoder trained: {folder} has no checkpoint; remove the run and repeat it")
        self._learner, self._shape = _build_learner(experiment)
        state = numbered_state[1]["trainer"]["learner"]
        self._learner.load_state_dict(state)
        host = self._learner.host if isinstance(self._learner, Hosted) else self._learner
        if isinstance(host, Host):
            for module in host.modules.values():
                module.requires_grad_(False)
        self._checksum = _checksum(state)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        learner = self.learner
        if observation_shape != self._shape:
            raise UnsupportedError(
                f"encoder trained: the learner of {self.run} expects inputs of shape {self._shape}, got "
                f"{observation_shape}"
            )
        return tuple(learner.represent(torch.zeros(1, *observation_shape)).shape[1:])

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        features: Tensor = self.learner.represent(x.cpu())
        return features.to(x.device)

    def state_dict(self) -> dict[str, Any]:
        _ = self.learner
        return {"weights": self._checksum}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Check that the earlier run still has the same weights.

        Raises:
            CheckpointError: the weights have changed.
        """
        if state != self.state_dict():
            raise CheckpointError(
                f"encoder trained: {self.run} has other weights than when this run started; restore them, or remove "
                "this run with rlcl runs rm to start it again"
            )


def _finished_run(folder: Path) -> Path:
    """Return the only run in a folder.

    Raises:
        RunFolderError: there is no run, there are several, or the run is not finished.
    """
    is_run = (folder / "config.yaml").is_file()
    runs = [folder] if is_run else sorted(p.parent for p in folder.rglob("seed*/config.yaml"))
    if not runs:
        raise RunFolderError(f"encoder trained: no run in {folder}; expected a folder such as runs/NAME/HASH/seed0")
    if len(runs) > 1:
        names = ", ".join(map(str, runs[:4])) + (", ..." if len(runs) > 4 else "")
        raise RunFolderError(f"encoder trained: {folder} contains {len(runs)} runs; choose one of {names}")
    state = state_of(runs[0])
    if state != "finished":
        raise RunFolderError(
            f"encoder trained: {runs[0]} is {state}; finish it first, with the command that started it"
        )
    return runs[0]


def _build_learner(experiment: Experiment) -> tuple[Any, tuple[int, ...]]:
    """Build and prepare the learner of a run; return it and the shape of its inputs.

    The random generators and the number of threads of this process do not change.
    """
    # The seed is arbitrary, because the loaded state replaces everything that depends on it.
    with preserved_global_state(), preserved_threads():
        trainer = make_trainer(experiment, experiment.seeds[0])
    return trainer.learner, trainer.stream.spec.observation_shape


def _checksum(state: Any) -> str:
    """Compute the SHA-256 of a state's structure and tensors, which does not depend on how it was stored."""
    structure, tensors = flatten(state)
    digest = hashlib.sha256(json.dumps(structure).encode())
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
