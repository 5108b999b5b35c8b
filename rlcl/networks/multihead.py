"""Network with a shared body and a linear head for each task."""

from __future__ import annotations

import torch
from attrs import frozen
from torch import Tensor, nn

from rlcl.config import option
from rlcl.networks.mlp import ACTIVATIONS, Activation, Mlp, activated_width
from rlcl.types import Network

__all__ = ["Multihead"]


@frozen(kw_only=True)
class Multihead(Network):
    """A body shared by all tasks, and one linear head per task, selected by the task id.

    Args:
        body: network shared by all tasks; its last layer has ``features`` outputs.
        features: input units of the heads.
        activation: between body and heads.
    """

    body: Network = option(factory=lambda: Mlp(hidden=(256,)))
    features: int = option(256, ge=1)
    activation: Activation = option("relu")

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        body = nn.Sequential(self.body.build(shape, self.features, 1), ACTIVATIONS[self.activation]())
        width = activated_width(self.features, self.activation)
        return MultiheadModule(body, nn.ModuleList(nn.Linear(width, outputs) for _ in range(tasks)))


class MultiheadModule(nn.Module):
    """Module of :class:`Multihead`."""

    takes_task_ids = True

    def __init__(self, body: nn.Module, heads: nn.ModuleList) -> None:
        super().__init__()
        self.body = body
        self.heads = heads

    def forward(self, x: Tensor, task_ids: Tensor) -> Tensor:
        """Compute the outputs of each row with the head of its task.

        Args:
            x: (B, *shape) float32.
            task_ids: (B,) int64.

        Returns:
            (B, outputs).
        """
        features = self.body(x)
        present = sorted(set(task_ids.tolist()))
        if len(present) == 1:
            head: Tensor = self.heads[present[0]](features)
            return head
        outputs: Tensor | None = None
        for task in present:
            rows = (task_ids == task).nonzero().flatten()
            part = self.heads[task](features.index_select(0, rows))
            if outputs is None:
                outputs = torch.zeros(len(x), part.shape[1], dtype=part.dtype, device=part.device)
            outputs = outputs.index_copy(0, rows, part)
        assert outputs is not None
        return outputs

    def of_tasks(self, x: Tensor, tasks: list[int]) -> Tensor:
        """Compute the outputs (B, H, outputs) of H tasks' heads for inputs (B, *shape), in one pass of the body."""
        features = self.body(x)
        return torch.stack([self.heads[task](features) for task in tasks], 1)
