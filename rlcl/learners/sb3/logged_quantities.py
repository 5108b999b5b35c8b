"""Names of the quantities that Stable-Baselines3 logs, as our own learners log them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

__all__ = ["logged_quantities"]

# Our name, and the factor from their value to ours.
NAMES: Mapping[str, tuple[str, float]] = {
    "rollout/exploration_rate": ("exploration", 1.0),
    "train/clip_range": ("clip", 1.0),
    "train/ent_coef": ("temperature", 1.0),
    "train/ent_coef_loss": ("temperature_loss", 1.0),
    "train/entropy_loss": ("entropy", -1.0),
    "train/learning_rate": ("lr", 1.0),
    "train/policy_gradient_loss": ("policy_loss", 1.0),
}


def logged_quantities(logged: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield name and value of each quantity of training.

    Args:
        logged: values by name, as the logger of a model has them.
    """
    for key, value in logged.items():
        if not isinstance(value, int | float | np.number):
            continue
        if key in NAMES:
            name, factor = NAMES[key]
            yield name, factor * float(value)
        elif key.startswith("train/"):
            yield key.removeprefix("train/"), float(value)
