"""What a learner of an earlier run makes of its inputs.

An encoder that stands above the others: it builds a learner from a config and loads a checkpoint.
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
from rlcl.launch.located import located
from rlcl.registry import name_of
from rlcl.seeding import preserved_global_state
from rlcl.state import flatten
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import state_of
from rlcl.training import checkpoint
from rlcl.types import Encoder, Host, Hosted, Representing

__all__ = ["Trained"]


@define(kw_only=True, eq=False)
class Trained(Encoder):
    """The representation that a learner of an earlier, finished run has of the inputs; it learns no more.

    The learner (``autoencoder``, ``vae``, ``barlow_twins``, ``simsiam``, or any with ``represent``) is
    built anew from the run's config, which needs its data too, and its last checkpoint is loaded. It
    encodes with the encoder that it was trained with, so it takes raw inputs; it computes on the CPU. The
    weights stay in the run's folder: the state is their checksum, and going on with others is refused.

    Args:
        run: the run's folder, ``runs/NAME/HASH/seedN``, or one above it that holds no other run.
    """

    run: str = option()
    _learner: Any = field(init=False, default=None)
    _shape: tuple[int, ...] = field(init=False, default=())
    _checksum: str = field(init=False, default="")

    @property
    def learner(self) -> Any:
        """The earlier run's learner, loaded when it is first asked for."""
        if self._learner is None:
            self._load(_finished_run(Path(self.run).expanduser()))
        return self._learner

    def _load(self, folder: Path) -> None:
        files = read_json(folder / "manifest.json").get("files", {})
        experiment = located(load_experiment(folder / "config.yaml", ["sinks=[]"]), files)
        experiment = attrs.evolve(experiment, device="cpu")
        learner = build(experiment.learner)
        if not isinstance(learner, Representing):
            raise UnsupportedError(
                f"encoder trained: {folder} trained the learner {name_of('learner', learner)}, which has no "
                "representation; autoencoder, vae, barlow_twins and simsiam have one"
            )
        found = checkpoint.load_newest(folder / "checkpoints", lambda text: warnings.warn(text, stacklevel=2))
        if found is None:
            raise CheckpointError(f"encoder trained: {folder} has no checkpoint; remove the run and repeat it")
        self._learner, self._shape = _built(experiment)
        state = found[1]["trainer"]["learner"]
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
                f"encoder trained: the learner of {self.run} takes inputs of shape {self._shape}, and these have "
                f"{observation_shape}"
            )
        return tuple(learner.represent(torch.zeros(1, *observation_shape)).shape[1:])

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor) -> Tensor:
        features: Tensor = self.learner.represent(x.cpu())
        return features.to(x.device)

    def state_dict(self) -> dict[str, Any]:
        _ = self.learner
        return {"weights": self._checksum}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Raises:
            CheckpointError: the earlier run has other weights now.
        """
        if state != self.state_dict():
            raise CheckpointError(
                f"encoder trained: {self.run} holds other weights than those that this run began with; restore them, "
                "or remove this run with rlcl runs rm to start it anew"
            )


def _finished_run(place: Path) -> Path:
    """The one run in a folder.

    Raises:
        RunFolderError: there is none, there are several, or it is not finished.
    """
    found = [place] if (place / "config.yaml").is_file() else sorted(p.parent for p in place.rglob("seed*/config.yaml"))
    if not found:
        raise RunFolderError(f"encoder trained: no run in {place}; expected a folder such as runs/NAME/HASH/seed0")
    if len(found) > 1:
        names = ", ".join(map(str, found[:4])) + (", ..." if len(found) > 4 else "")
        raise RunFolderError(f"encoder trained: {place} holds {len(found)} runs; choose one of {names}")
    state = state_of(found[0])
    if state != "finished":
        raise RunFolderError(f"encoder trained: {found[0]} is {state}; finish it first, with the command that began it")
    return found[0]


def _built(experiment: Experiment) -> tuple[Any, tuple[int, ...]]:
    """A learner prepared as in its run, and the shape of its inputs; what the process draws and computes with stays."""
    # Any seed will do: the state that is loaded replaces all that it decides.
    threads = torch.get_num_threads()
    try:
        with preserved_global_state():
            trainer = make_trainer(experiment, experiment.seeds[0])
    finally:
        torch.set_num_threads(threads)
    return trainer.learner, trainer.stream.spec.observation_shape


def _checksum(state: Any) -> str:
    """SHA-256 of a state's structure and tensors, the same wherever and whenever it was written."""
    structure, tensors = flatten(state)
    digest = hashlib.sha256(json.dumps(structure).encode())
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
