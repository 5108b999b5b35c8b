"""Settings of the registered methods for tests."""

from __future__ import annotations

from typing import Any

from rlcl.networks.mlp import Mlp
from rlcl.registry import entries, find

# Settings under which a method shows within a few updates; any other method is tried at its defaults.
SETTINGS: dict[str, dict[str, Any]] = {
    "ewc": {"strength": 100.0},
    "si": {"strength": 100.0, "epsilon": 0.01},
    "rwalk": {"strength": 1.0, "interval": 3},
    "mas": {"strength": 1.0},
    "l2": {"strength": 0.01},
    "l2_init": {"strength": 0.01},
    "shrink_and_perturb": {"decay": 0.01, "noise": 0.01},
    "continual_backprop": {"replacement_rate": 0.05, "maturity": 2},
    "redo": {"threshold": 0.9, "every": 3},
    "lwf": {"strength": 1.0},
    "distill": {"strength": 1.0, "capacity": 20, "samples": 30, "batch_size": 8},
    "cloning": {"strength": 1.0, "capacity": 20, "samples": 30, "batch_size": 8},
    "selective_replay": {"capacity": 20},
    "clear": {"capacity": 60, "length": 4, "policy_cloning": 1.0},
    "rehearsal": {"capacity": 20, "batch_size": 8},
    "a_gem": {"capacity": 20, "batch_size": 8},
    "gem": {"per_experience": 10},
    "der": {"capacity": 20, "alpha": 0.1, "batch_size": 8},
    "der_plus_plus": {"capacity": 20, "alpha": 0.1, "beta": 0.2, "batch_size": 8},
    "mir": {"capacity": 20, "batch_size": 4, "candidates": 12},
    "packnet": {"prune": 0.5, "retrain": 0.4},
    "xdg": {"share": 0.5},
    "generative_replay": {"batch_size": 8, "network": Mlp(hidden=(16,)), "decoder": Mlp(hidden=(16,)), "code": 3},
}
METHODS = sorted(entries("method"))


def method(name: str, **changes: Any) -> Any:
    """A method with its settings for tests."""
    return find("method", name)(**{**SETTINGS.get(name, {}), **changes})
