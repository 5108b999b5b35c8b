"""Labels of curves, and settings of a run, as TensorBoard and trackers show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlcl.tracking.runs import dotted_keys

__all__ = ["experience_label", "run_settings"]

NAME_LENGTH = 40  # of an experience in a label


def experience_label(index: int, name: str) -> str:
    """Return a label that sorts in the order of the stream: ``02 digits 4-5``."""
    return f"{index:02d} {name[:NAME_LENGTH]}"


def run_settings(config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return the settings that distinguish experiments, by dotted key; settings that are None are left out.

    Args:
        config: the resolved experiment as plain data.
        seed: seed of the run.
    """
    settings = dotted_keys({name: config[name] for name in ("stream", "encoder", "learner", "budget")})
    return {"seed": seed, **{key: value for key, value in settings.items() if value is not None}}
