"""Progressive networks: one column per task, with lateral connections from the columns of earlier tasks."""

from __future__ import annotations

import math
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from rlcl.config import option
from rlcl.networks.mlp import ACTIVATIONS, Activation, activated_width
from rlcl.types import Network

__all__ = ["Progressive"]


@frozen(kw_only=True)
class Progressive(Network):
    """A fully connected column for each task, selected by the task id, with lateral connections from earlier columns.

    All columns exist from the start. The loss of a task trains its own column with its lateral
    connections only. The column uses the hidden layers of earlier columns and passes no gradient to them, so that
    they do not change. A row of an earlier task in the minibatch (rehearsal) trains the column of that task.

    Args:
        hidden: units of each hidden layer of a column.
        activation: between the layers; ``crelu`` doubles the inputs of the next layer.
        adapters: whether lateral connections have a hidden layer, as wide as one column's layer below,
            instead of being a linear map.
        scale: maximum initial value of the learned factor by which an adapter multiplies the units of each earlier
            column; the initial factor is sampled uniformly from 0 to this value.

    Source: Rusu et al. 2016, Progressive neural networks, eq. 1 and, with adapters, eq. 2.
    """

    hidden: tuple[int, ...] = option((128, 128), ge=1)
    activation: Activation = option("relu")
    adapters: bool = option(True)
    scale: float = option(0.1, gt=0)

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int = 1) -> nn.Module:
        return ProgressiveModule([ProgressiveColumn(self, math.prod(shape), outputs, task) for task in range(tasks)])


class ProgressiveColumn(nn.Module):
    """Layers of one task, with lateral connections from earlier columns.

    Args:
        network: settings of the network.
        features: number of features of one input.
        outputs: units of the last layer.
        before: number of earlier columns.
    """

    def __init__(self, network: Progressive, features: int, outputs: int, before: int) -> None:
        super().__init__()
        hidden_widths = [activated_width(units, network.activation) for units in network.hidden]
        widths = [*network.hidden, outputs]
        self.layers = nn.ModuleList(nn.Linear(n, u) for n, u in zip([features, *hidden_widths], widths, strict=True))
        self.activation = ACTIVATIONS[network.activation]()
        lateral = zip(hidden_widths, widths[1:], strict=True) if before else ()
        self.lateral = nn.ModuleList(self._lateral(network, before, n, units) for n, units in lateral)

    def _lateral(self, network: Progressive, before: int, width: int, units: int) -> nn.Module:
        if network.adapters:
            return Adapter(before, width, units, network)
        return nn.Linear(before * width, units, bias=False)

    def forward(self, x: Tensor, earlier: list[list[Tensor]]) -> tuple[Tensor, list[Tensor]]:
        """Compute the outputs and the hidden layers of this column.

        Args:
            x: (B, features).
            earlier: the hidden layers (B, width) of each earlier column.

        Returns:
            Outputs (B, outputs), and the hidden layers of this column.
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
    """Adapter U f(V (a h)) from the units h of one depth of earlier columns to a layer, with a factor a per column.

    Args:
        before: number of earlier columns.
        width: units of one earlier column after the activation; also the width of the projection V.
        units: of the layer.
        network: settings of the network.
    """

    def __init__(self, before: int, width: int, units: int, network: Progressive) -> None:
        super().__init__()
        self.scale = nn.Parameter(network.scale * torch.rand(before, 1))
        self.project = nn.Linear(before * width, width)
        self.activation = ACTIVATIONS[network.activation]()
        self.lateral = nn.Linear(activated_width(width, network.activation), units, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """Map (B, before * width) to (B, units)."""
        scaled = h.view(h.shape[0], len(self.scale), -1) * self.scale
        y: Tensor = self.lateral(self.activation(self.project(scaled.flatten(1))))
        return y


class ProgressiveModule(nn.Module):
    """Module of :class:`Progressive`."""

    takes_task_ids = True
    divides_batches = True

    def __init__(self, columns: list[ProgressiveColumn]) -> None:
        super().__init__()
        self.columns = nn.ModuleList(columns)

    def forward(self, x: Tensor, task_ids: Tensor) -> Tensor:
        """Compute the outputs of each row with the column of its task.

        Args:
            x: (B, *shape) float32.
            task_ids: (B,) int64.

        Returns:
            (B, outputs).
        """
        present = sorted(set(task_ids.tolist()))
        if len(present) == 1:
            return self._column_outputs(x.flatten(1), present[0])
        rows = [(task_ids == task).nonzero().flatten() for task in present]
        parts = [self._column_outputs(x.flatten(1)[own], task) for own, task in zip(rows, present, strict=True)]
        return torch.cat(parts)[torch.cat(rows).argsort()]

    def _column_outputs(self, x: Tensor, task: int) -> Tensor:
        earlier: list[list[Tensor]] = []
        with torch.no_grad():
            for column in list(self.columns)[:task]:
                earlier.append(column(x, earlier)[1])
        outputs: Any = self.columns[task](x, earlier)[0]
        y: Tensor = outputs
        return y
