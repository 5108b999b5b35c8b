"""Check of the magnitude of a network's inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from rlcl.config import unstructure
from rlcl.data.sources import read_chunks
from rlcl.encoders.compose import Compose
from rlcl.encoders.identity import Identity
from rlcl.experiment import Experiment
from rlcl.training.trainer import Trainer
from rlcl.types import Encoder

__all__ = ["input_scale_remark"]

LARGE = 20.0  # root mean square above which inputs are far from 1; that of 8-bit images is 50 to 150
ROWS, ENV_STEPS = 512, 64  # sample sizes


def input_scale_remark(experiment: Experiment, trainer: Trainer) -> str:
    """Return a remark if the encoded inputs are far from 1, with the setting that fixes it; empty otherwise.

    Learners without a setting ``network`` are skipped: Stable-Baselines3 scales images itself.

    Args:
        experiment: the experiment with the encoder.
        trainer: a trainer built from it, with a fitted encoder.
    """
    if "network" not in unstructure(experiment)["learner"]:
        return ""
    raw = _raw_inputs(trainer)
    if raw is None or not len(raw):
        return ""
    encoded = trainer.encoder.encode(raw.to(trainer.device), trainer.stream[0].task_id or 0)
    finite = encoded[torch.isfinite(encoded)].double()
    root_mean_square = float(finite.square().mean().sqrt()) if len(finite) else 0.0
    if root_mean_square <= LARGE:
        return ""
    environment = trainer.stream.spec.kind == "environment"
    suggestion = "scale" if raw.dtype == torch.uint8 else "running_norm" if environment else "standardize"
    return (
        f"inputs are far from 1: the inputs of the network lie between {float(finite.min()):g} and "
        f"{float(finite.max()):g} (root mean square {root_mean_square:.3g}), which impairs learning; set "
        f"encoder: {_suggested_setting(trainer.encoder, experiment, suggestion)}"
    )


def _suggested_setting(encoder: Encoder, experiment: Experiment, suggestion: str) -> str:
    """Return the encoder setting with one more encoder: ``running_norm`` as the last one, others as the first one."""
    if isinstance(encoder, Identity):
        return f"{{type: {suggestion}}}"
    settings = unstructure(experiment)["encoder"]
    encoders = settings["encoders"] if isinstance(encoder, Compose) else [settings]
    names = [f"{{type: {e['type']}, ...}}" if len(e) > 1 else f"{{type: {e['type']}}}" for e in encoders]
    added = f"{{type: {suggestion}}}"
    order = [*names, added] if suggestion == "running_norm" else [added, *names]
    return f"[{', '.join(order)}]"


def _raw_inputs(trainer: Trainer) -> Tensor | None:
    """Return raw inputs (B, *observation) of the first experience; None if it has no rows."""
    experience = trainer.stream[0]
    if experience.train.kind == "environment":
        return torch.from_numpy(experience.train.random_observations(ENV_STEPS))
    return next((x[:ROWS] for x, _ in read_chunks(experience.arrays)), None)
