"""Whether the numbers that a network is given are of about the size that it learns from."""

from __future__ import annotations

import torch
from torch import Tensor

from rlcl.config import unstructure
from rlcl.data.sources import pieces
from rlcl.encoders.compose import Compose
from rlcl.encoders.identity import Identity
from rlcl.experiment import Experiment
from rlcl.training.trainer import Trainer
from rlcl.types import Encoder

__all__ = ["remark_on_inputs"]

LARGE = 20.0  # root of the mean square, from which on inputs are far from 1; bytes of images have 50 to 150
ROWS, ENV_STEPS = 512, 64


def remark_on_inputs(experiment: Experiment, trainer: Trainer) -> str:
    """What to know of the size of encoded inputs, with the line that mends it; empty where there is nothing to say.

    Learners without a setting ``network`` are not asked: Stable-Baselines3 divides images itself.

    Args:
        experiment: says how inputs are encoded.
        trainer: built from it, whose encoder has been fitted.
    """
    if "network" not in unstructure(experiment)["learner"]:
        return ""
    raw = _sample(trainer)
    if raw is None or not len(raw):
        return ""
    encoded = trainer.encoder.encode(raw.to(trainer.device))
    known = encoded[torch.isfinite(encoded)].double()
    size = float(known.square().mean().sqrt()) if len(known) else 0.0
    if size <= LARGE:
        return ""
    environment = trainer.stream.spec.kind == "environment"
    asked = "scale" if raw.dtype == torch.uint8 else "running_norm" if environment else "standardize"
    return (
        f"inputs are far from 1: what the network is given lies between {float(known.min()):g} and "
        f"{float(known.max()):g} (root mean square {size:.3g}), from which it learns badly; set "
        f"encoder: {_line(trainer.encoder, experiment, asked)}"
    )


def _line(encoder: Encoder, experiment: Experiment, asked: str) -> str:
    """The setting of the encoder with another one in front of its others; normalising observations comes last."""
    if isinstance(encoder, Identity):
        return f"{{type: {asked}}}"
    settings = unstructure(experiment)["encoder"]
    each = settings["encoders"] if isinstance(encoder, Compose) else [settings]
    names = [f"{{type: {one['type']}, ...}}" if len(one) > 1 else f"{{type: {one['type']}}}" for one in each]
    order = [*names, f"{{type: {asked}}}"] if asked == "running_norm" else [f"{{type: {asked}}}", *names]
    return f"[{', '.join(order)}]"


def _sample(trainer: Trainer) -> Tensor | None:
    """Raw inputs (B, *observation) of the first experience."""
    experience = trainer.stream[0]
    if experience.train.kind == "environment":
        return torch.from_numpy(experience.train.random_observations(ENV_STEPS))
    return next((x[:ROWS] for x, _ in pieces(experience.arrays)), None)
