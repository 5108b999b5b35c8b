"""Initial weights and encoder state of a run, loaded from another, finished run."""

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
from rlcl.state import clone_state
from rlcl.tracking.runs import state_of
from rlcl.training import checkpoint
from rlcl.types import Encoder, InitialWeights, Starting, Stream

__all__ = ["InitialState", "load_initial_state"]


@frozen(kw_only=True, eq=False)
class InitialState:
    """Initial state of one run.

    Args:
        weights: initial weights of the networks.
        encoder: state of the fitted encoder; None to start with an unfitted encoder.
        origin: path, hash and seed of the run that the state was loaded from.
    """

    weights: InitialWeights
    encoder: Mapping[str, Any] | None
    origin: Mapping[str, Any]

    def restore_encoder(self, encoder: Encoder, stream: Stream) -> None:
        """Load the encoder state of the other run into an encoder.

        Args:
            encoder: an encoder with the same config as that of the other run.
            stream: the stream whose inputs it will encode.

        Raises:
            UnsupportedError: the state does not fit the inputs of the stream.
        """
        if self.encoder is None:
            return
        try:
            encoder.load_state_dict(clone_state(self.encoder))
            encoder.encode(_first_input(stream), 0)
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise UnsupportedError(
                f"initial.encoder: the state of the encoder of {self.weights.origin} does not fit this stream "
                f"({str(error).splitlines()[0]}); set initial.encoder: own to fit a new encoder"
            ) from error


def _first_input(stream: Stream) -> Tensor:
    """Return the first training input (1, *observation) of a stream; zeros for environments."""
    source = stream[0].train
    if source.kind == "environment":
        return torch.zeros(1, *stream.spec.observation_shape)
    return source.subset(torch.zeros(1, dtype=torch.int64)).read()[0]


def load_initial_state(experiment: Experiment, seed: int, folder: Path | None = None) -> InitialState | None:
    """Load the initial state of a run; return None if it starts with fresh weights or has checkpoints already.

    Args:
        experiment: the experiment; its key ``initial`` names the other run.
        seed: the seed of the run.
        folder: the checkpoint folder of the run; it may be empty or missing.

    Raises:
        RlclError: the other run does not exist or is not finished, or its weights or encoder cannot be loaded.
    """
    initial = experiment.initial
    if initial is None or (folder is not None and any(folder.glob("[0-9]*"))):
        return None
    path = _finished_run(initial, seed)
    parent = load_experiment(path / "config.yaml")
    if parent.hash != initial.of:
        raise RunFolderError(
            f"initial.run: {path} belongs to the experiment {parent.hash}, expected {initial.of}; restore that run, or "
            "remove initial.of to start from this one"
        )
    learner = build(parent.learner, ("learner",))
    if not isinstance(learner, Starting):
        raise UnsupportedError(
            f"initial.run: {path} trained the learner {name_of('learner', learner)}, which has no networks whose "
            "weights can be loaded; choose another run"
        )
    _check_encoder(initial, parent, experiment, path)
    state = _learner_state(path)
    networks = learner.networks_in(state)
    weights = InitialWeights(
        networks=_matching_weights(networks, initial.parameters), complete=initial.complete, origin=str(path)
    )
    fits_own_encoder = initial.encoder == "own"
    origin = {"path": str(path), "hash": parent.hash, "seed": int(path.name.removeprefix("seed"))}
    return InitialState(weights=weights, encoder=None if fits_own_encoder else state["encoder"], origin=origin)


def _finished_run(initial: Initial, seed: int) -> Path:
    """Return the folder of the finished run that provides the initial state for a seed.

    Raises:
        RunFolderError: there is no run of that seed, or it is not finished.
    """
    folder, source_seed = Path(initial.run).expanduser(), seed if initial.seed == "same" else initial.seed
    runs = {path.name: path for path in initial.folders}
    path = runs.get(f"seed{source_seed}")
    if path is None:
        raise RunFolderError(
            f"initial.seed: {initial.seed}: {folder} has no run of seed {source_seed}; it has "
            f"{', '.join(runs) or 'no runs'}; run that seed, or set initial.seed to the number of an existing one"
        )
    state = state_of(path)
    if state != "finished":
        raise RunFolderError(f"initial.run: {path} is {state}; finish it first: rlcl run {path / 'config.yaml'}")
    return path


def _learner_state(path: Path) -> Mapping[str, Any]:
    """Load the state of the learner from the newest checkpoint of a run."""
    numbered_state = checkpoint.load_newest(path / "checkpoints", lambda text: warnings.warn(text, stacklevel=2))
    if numbered_state is None:
        raise CheckpointError(f"initial.run: {path} has no checkpoint; remove the run with rlcl runs rm and repeat it")
    state: Mapping[str, Any] = numbered_state[1]["trainer"]["learner"]
    return state


def _check_encoder(initial: Initial, parent: Experiment, experiment: Experiment, path: Path) -> None:
    """Check that the inputs are encoded as in the parent run, since the weights depend on the encoding.

    Raises:
        ConfigError: the encoders differ and ``initial.encoder`` is ``keep``.
    """
    parent_encoder, encoder = unstructure(parent.encoder), unstructure(experiment.encoder)
    if initial.encoder == "keep" and parent_encoder != encoder:
        raise ConfigError(
            [
                f"encoder: {encoder}, but the weights of {path} were trained with {parent_encoder}; set the same "
                "encoder, or set initial.encoder: own to use the weights with a different encoding"
            ]
        )


def _matching_weights(
    networks: Mapping[str, Mapping[str, Tensor]], patterns: Sequence[str]
) -> Mapping[str, Mapping[str, Tensor]]:
    """Return the weights whose names match at least one pattern.

    Raises:
        ConfigError: a pattern matches no parameter.
    """
    names = [f"{network}.{name}" for network, parameters in networks.items() for name in parameters]
    for index, pattern in enumerate(patterns):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(
                [f"initial.parameters[{index}]: no parameter {pattern!r} in that run{did_you_mean(pattern, names)}"]
            )
    return {
        network: {
            name: tensor
            for name, tensor in parameters.items()
            if any(fnmatchcase(f"{network}.{name}", pattern) for pattern in patterns)
        }
        for network, parameters in networks.items()
    }
