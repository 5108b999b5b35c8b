"""Progressive networks: a column a task, which reads the columns before it and leaves them alone."""

from __future__ import annotations

import math
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from rlcl.config import option
from rlcl.networks.mlp import ACTIVATIONS, Activation, activated
from rlcl.types import Network

__all__ = ["Progressive"]


@frozen(kw_only=True)
class Progressive(Network):
    """A fully connected column for each task, chosen by the task id, with lateral connections from earlier columns.

    All columns are there from the start. What a task's loss reaches is its own column with its lateral
    connections: it reads the hidden layers of earlier columns and passes no gradient to them, so that
    they stay as they are. A row of an earlier task in the minibatch (rehearsal) trains its own column.

    Args:
        hidden: units of each hidden layer of a column.
        activation: between the layers; ``crelu`` doubles what the next layer reads.
        adapters: lateral connections through a hidden layer of their own, as wide as one column's layer below,
            instead of a linear map.
        scale: an adapter multiplies what it reads of each earlier column by a number that is learned, and drawn
            between 0 and this at first.

    Source: Rusu et al. 2016, Progressive neural networks, eq. 1 and, with adapters, eq. 2.
    """

    hidden: tuple[int, ...] = option((128, 128), ge=1)
    activation: Activation = option("relu")
    adapters: bool = option(True)
    scale: float = option(0.1, gt=0)

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        return ProgressiveModule([Column(self, math.prod(shape), outputs, task) for task in range(tasks)])


class Column(nn.Module):
    """One task's layers, each with what it reads of the columns before.

    Args:
        network: what was asked for.
        features: of one input.
        outputs: of the last layer.
        before: how many columns there are before this one.
    """

    def __init__(self, network: Progressive, features: int, outputs: int, before: int) -> None:
        super().__init__()
        read = [activated(units, network.activation) for units in network.hidden]
        widths = [*network.hidden, outputs]
        self.layers = nn.ModuleList(nn.Linear(n, u) for n, u in zip([features, *read], widths, strict=True))
        self.activation = ACTIVATIONS[network.activation]()
        lateral = zip(read, widths[1:], strict=True) if before else ()
        self.lateral = nn.ModuleList(self._lateral(network, before, n, units) for n, units in lateral)

    def _lateral(self, network: Progressive, before: int, read: int, units: int) -> nn.Module:
        if network.adapters:
            return Adapter(before, read, units, network)
        return nn.Linear(before * read, units, bias=False)

    def forward(self, x: Tensor, earlier: list[list[Tensor]]) -> tuple[Tensor, list[Tensor]]:
        """
        Args:
            x: (B, features).
            earlier: of each earlier column, its hidden layers (B, read).

        Returns:
            Outputs (B, outputs), and this column's own hidden layers.
        """
        hidden: list[Tensor] = []
        for depth, layer in enumerate(self.layers):
            x = layer(x)
            if depth and earlier:
                x = x + self.lateral[depth - 1](torch.cat([column[depth - 1] for column in earlier], 1))
            if depth < len(self.layers) - 1:
                x = self.activation(x)
                hidden.append(x)
        return x, hidden


class Adapter(nn.Module):
    """U f(V (a h)): from the units h of one depth of earlier columns to one layer, a being a number a column.

    Args:
        before: how many columns there are before.
        read: units of one of them, after the activation; the width of the projection V.
        units: of the layer.
        network: what was asked for.
    """

    def __init__(self, before: int, read: int, units: int, network: Progressive) -> None:
        super().__init__()
        self.scale = nn.Parameter(network.scale * torch.rand(before, 1))
        self.project = nn.Linear(before * read, read)
        self.activation = ACTIVATIONS[network.activation]()
        self.lateral = nn.Linear(activated(read, network.activation), units, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """(B, before * read) to (B, units)."""
        scaled = h.view(h.shape[0], len(self.scale), -1) * self.scale
        y: Tensor = self.lateral(self.activation(self.project(scaled.flatten(1))))
        return y


class ProgressiveModule(nn.Module):
    """See :class:`Progressive`."""

    takes_task_ids = True
    divides_batches = True

    def __init__(self, columns: list[Column]) -> None:
        super().__init__()
        self.columns = nn.ModuleList(columns)

    def forward(self, x: Tensor, task_ids: Tensor) -> Tensor:
        """
        Args:
            x: (B, *shape) float32.
            task_ids: (B,) int64.

        Returns:
            (B, outputs), each row from its own task's column.
        """
        present = sorted(set(task_ids.tolist()))
        if len(present) == 1:
            return self._of(x.flatten(1), present[0])
        rows = [(task_ids == task).nonzero().flatten() for task in present]
        parts = [self._of(x.flatten(1)[own], task) for own, task in zip(rows, present, strict=True)]
        return torch.cat(parts)[torch.cat(rows).argsort()]

    def _of(self, x: Tensor, task: int) -> Tensor:
        earlier: list[list[Tensor]] = []
        with torch.no_grad():
            for column in list(self.columns)[:task]:
                earlier.append(column(x, earlier)[1])
        outputs: Any = self.columns[task](x, earlier)[0]
        y: Tensor = outputs
        return y
