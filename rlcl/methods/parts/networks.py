"""The networks of a learner that a method acts on: the one that predicts or acts, or critics too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from rlcl.types import Batch, CriticHost, Host

__all__ = ["Networks", "critics_refusal", "kind_of", "network_keys", "outputs_of", "sample_inputs"]

Networks = Literal["primary", "all"]
JOINT_CRITICS = ("critic", "value_net")  # attributes of modules with actor and critic: of ppo, and of sb3's PPO


def network_keys(host: Host, networks: Networks) -> Sequence[str]:
    """Return the keys of ``host.optimizers`` that a setting selects."""
    return [host.primary] if networks == "primary" else list(host.optimizers)


def critics_refusal(networks: Networks, host: Host) -> str | None:
    """Return the reason why a method of outputs cannot act on these networks of a host, or None if it can."""
    if networks == "all" and len(host.optimizers) > 1 and "critic" not in host.provides:
        return "the inputs and outputs of its critics are not accessible; set networks: primary"
    if networks == "all" and any(hasattr(host.modules[host.primary], name) for name in JOINT_CRITICS):
        return "its critic is a part of the network that acts, and has no outputs of its own; set networks: primary"
    return None


def sample_inputs(host: Host, key: str, n: int | None, rng: np.random.Generator) -> Batch:
    """Sample inputs of a network from the experience that has just ended; see :meth:`rlcl.types.Host.sample`."""
    if key == host.primary:
        return host.sample(n, rng)
    assert isinstance(host, CriticHost)
    return host.sample_inputs(key, n, rng)


def outputs_of(host: Host, key: str) -> Callable[[Tensor, Tensor | None], Tensor]:
    """Return the function from inputs and task ids to the outputs (B, K) of a network."""
    if key == host.primary:
        return host.outputs
    assert isinstance(host, CriticHost)
    return lambda x, task_ids: host.module_outputs(key, x, task_ids)


def kind_of(host: Host, key: str) -> str:
    """Return the kind of the outputs of a network; see :attr:`rlcl.types.Host.kind`. Critics predict values."""
    return host.kind if key == host.primary else "values"
