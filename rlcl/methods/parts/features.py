"""Features: the inputs of a network's last layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.types import Batch, Host

__all__ = ["features", "has_features"]

ROWS_AT_ONCE = 512


def has_features(module: nn.Module) -> bool:
    """Return whether a network has a linear layer, whose inputs are its features."""
    return any(isinstance(layer, nn.Linear) for layer in module.modules())


def features(host: Host, batch: Batch) -> Tensor:
    """Compute the inputs (B, D) of a host's last linear layer, normalized to unit length, without gradient.

    Raises:
        UnsupportedError: the network has no linear layer that processes all rows of a batch.
    """
    module = host.modules[host.primary]
    last: list[Tensor] = []

    def record(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        last[:] = [args[0].detach().flatten(1)]

    handles = [m.register_forward_pre_hook(record) for m in module.modules() if isinstance(m, nn.Linear)]
    chunks = []
    try:
        with evaluation_mode(module):
            for rows in torch.split(torch.arange(len(batch.inputs), device=batch.inputs.device), ROWS_AT_ONCE):
                host.outputs(batch.inputs[rows], None if batch.task_ids is None else batch.task_ids[rows])
                chunks += last
                if not last or len(last[0]) != len(rows):
                    raise UnsupportedError(
                        f"features of learner {host.name}: its network has no linear layer that processes all rows "
                        "of a batch"
                    )
    finally:
        for handle in handles:
            handle.remove()
    return F.normalize(torch.cat(chunks))
