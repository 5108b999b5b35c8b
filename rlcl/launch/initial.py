"""What an experiment begins with of another, finished run: its weights, and its encoder."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import build, unstructure
from rlcl.errors import CheckpointError, ConfigError, RunFolderError, UnsupportedError, did_you_mean
from rlcl.experiment import Experiment, Initial, load_experiment
from rlcl.registry import name_of
from rlcl.state import cloned
from rlcl.tracking.runs import state_of
from rlcl.training import checkpoint
from rlcl.types import Encoder, InitialWeights, Starting, Stream

__all__ = ["Start", "start_of"]


@frozen(kw_only=True, eq=False)
class Start:
    """What one run begins with.

    Args:
        weights: of its networks.
        encoder: state of the fitted encoder; None to begin with an unfitted one.
        origin: path, hash and seed of the run that it comes from.
    """

    weights: InitialWeights
    encoder: Mapping[str, Any] | None
    origin: Mapping[str, Any]

    def give_encoder(self, encoder: Encoder, stream: Stream) -> None:
        """Brings an encoder into the state that the other run's was in.

        Args:
            encoder: of the same config as the other run's.
            stream: whose inputs it is to encode.

        Raises:
            UnsupportedError: its state does not fit them.
        """
        if self.encoder is None:
            return
        try:
            encoder.load_state_dict(cloned(self.encoder))
            encoder.encode(_one_input(stream))
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise UnsupportedError(
                f"initial.encoder: the state of the encoder of {self.weights.origin} does not fit this stream "
                f"({str(error).splitlines()[0]}); write own, to fit it anew"
            ) from error


def _one_input(stream: Stream) -> Tensor:
    """(1, *observation)."""
    source = stream[0].train
    if source.kind == "environment":
        return torch.zeros(1, *stream.spec.observation_shape)
    return source.subset(torch.zeros(1, dtype=torch.int64)).read()[0]


def start_of(experiment: Experiment, seed: int, folder: Path | None = None) -> Start | None:
    """What a run begins with; None where it begins with fresh weights, or has begun already.

    Args:
        experiment: its key ``initial`` is looked at.
        seed: of the run.
        folder: of the run's checkpoints, of which there may be some.

    Raises:
        RlclError: there is no such run, it is not finished, or its weights or its encoder cannot be taken.
    """
    initial = experiment.initial
    if initial is None or (folder is not None and any(folder.glob("[0-9]*"))):
        return None
    path = _run(initial, seed)
    parent = load_experiment(path / "config.yaml")
    if parent.hash != initial.of:
        raise RunFolderError(
            f"initial.run: {path} is of the experiment {parent.hash}, and {initial.of} is wanted; restore that run, or "
            "leave out initial.of to begin with this one"
        )
    learner = build(parent.learner, ("learner",))
    if not isinstance(learner, Starting):
        raise UnsupportedError(
            f"initial.run: {path} trained the learner {name_of('learner', learner)}, which has no networks whose "
            "weights can be taken; name another run"
        )
    _check_encoder(initial, parent, experiment, path)
    state = _state(path)
    networks = learner.networks_in(state)
    weights = InitialWeights(
        networks=_chosen(networks, initial.parameters), complete=initial.complete, origin=str(path)
    )
    own = initial.encoder == "own"
    origin = {"path": str(path), "hash": parent.hash, "seed": int(path.name.removeprefix("seed"))}
    return Start(weights=weights, encoder=None if own else state["encoder"], origin=origin)


def _run(initial: Initial, seed: int) -> Path:
    """The folder of the run that a seed begins with."""
    place, wanted = Path(initial.run).expanduser(), seed if initial.seed == "same" else initial.seed
    found = {path.name: path for path in initial.folders}
    path = found.get(f"seed{wanted}")
    if path is None:
        raise RunFolderError(
            f"initial.seed: {initial.seed}, and {place} has no run of seed {wanted} but {', '.join(found) or 'none'}; "
            "run that seed, or write the number of one for all"
        )
    state = state_of(path)
    if state != "finished":
        raise RunFolderError(f"initial.run: {path} is {state}; finish it first: rlcl run {path / 'config.yaml'}")
    return path


def _state(path: Path) -> Mapping[str, Any]:
    """Of the learner, as the run left it."""
    found = checkpoint.load_newest(path / "checkpoints", lambda text: warnings.warn(text, stacklevel=2))
    if found is None:
        raise CheckpointError(f"initial.run: {path} has no checkpoint; remove the run with rlcl runs rm and repeat it")
    state: Mapping[str, Any] = found[1]["trainer"]["learner"]
    return state


def _check_encoder(initial: Initial, parent: Experiment, experiment: Experiment, path: Path) -> None:
    """The same weights mean something else over inputs that are encoded otherwise."""
    theirs, ours = unstructure(parent.encoder), unstructure(experiment.encoder)
    if initial.encoder == "keep" and theirs != ours:
        raise ConfigError(
            [
                f"encoder: {ours}, and the weights of {path} were learned over {theirs}; write the same encoder, or "
                "initial.encoder: own, to use the weights over inputs that are encoded otherwise"
            ]
        )


def _chosen(
    networks: Mapping[str, Mapping[str, Tensor]], patterns: Sequence[str]
) -> Mapping[str, Mapping[str, Tensor]]:
    """The weights whose names match any of some patterns.

    Raises:
        ConfigError: one matches nothing.
    """
    names = [f"{network}.{name}" for network, part in networks.items() for name in part]
    for index, pattern in enumerate(patterns):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(
                [f"initial.parameters[{index}]: no parameter {pattern!r} in that run{did_you_mean(pattern, names)}"]
            )
    return {
        network: {
            name: tensor
            for name, tensor in part.items()
            if any(fnmatchcase(f"{network}.{name}", pattern) for pattern in patterns)
        }
        for network, part in networks.items()
    }
