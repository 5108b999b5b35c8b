"""A host's outputs as a torch module."""

from __future__ import annotations

from torch import Tensor, nn

from rlcl.types import Host

__all__ = ["OutputsModule"]


class OutputsModule(nn.Module):
    """A host's outputs as a module, which torch can evaluate with other weights than its own (a frozen teacher)."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.module = host.modules[host.primary]
        self.host = host

    def forward(self, x: Tensor, task_ids: Tensor | None) -> Tensor:
        """(B, *encoded) to (B, K)."""
        return self.host.outputs(x, task_ids)
