"""What a network's last layer reads."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.methods.parts.modes import evaluating
from rlcl.types import Batch, Host

__all__ = ["features"]

ROWS_AT_ONCE = 512


def features(host: Host, batch: Batch) -> Tensor:
    """(B, D) inputs of the linear layer that a host's outputs come from, each of length 1, without gradient.

    Raises:
        UnsupportedError: the network has no linear layer, or several that share a batch.
    """
    module = host.modules[host.primary]
    last: list[Tensor] = []

    def note(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        last[:] = [args[0].detach().flatten(1)]

    handles = [m.register_forward_pre_hook(note) for m in module.modules() if isinstance(m, nn.Linear)]
    found = []
    try:
        with evaluating(module):
            for rows in torch.split(torch.arange(len(batch.inputs), device=batch.inputs.device), ROWS_AT_ONCE):
                host.outputs(batch.inputs[rows], None if batch.task_ids is None else batch.task_ids[rows])
                found += last
                if not last or len(last[0]) != len(rows):
                    raise UnsupportedError(
                        f"features of learner {host.name}: its network has no linear layer that reads all of a batch"
                    )
    finally:
        for handle in handles:
            handle.remove()
    return F.normalize(torch.cat(found))
