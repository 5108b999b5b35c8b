"""Data-parallel updates: several processes divide each minibatch and average their gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from attrs import define, field
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.learners.update import Update
from rlcl.process_group import ProcessGroup
from rlcl.types import Batch

__all__ = ["ParallelUpdate", "check_no_batch_norm"]


@define(eq=False)
class ParallelUpdate(Update):
    """Update with a minibatch that several processes divide. All have the same weights before and after it.

    The gradient is the mean over all rows of the minibatch: each process adds that of its rows, times their number.

    Args:
        group: the processes.
        start: function that seeds the random numbers of the forward pass, which must differ between the processes.
    """

    group: ProcessGroup = field(kw_only=True)
    start: Callable[[], None] = field(kw_only=True)
    _rows: int = field(init=False, default=0)

    def gradients(self, loss: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        """See :meth:`Update.gradients`; the loss is the mean over the rows of all processes."""
        self.start()
        rows = len(batch.inputs)
        mean = super().gradients(loss, batch) if rows else torch.zeros(())
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        used = torch.tensor([p.grad is not None for p in parameters])
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        numbers = torch.cat([mean[None].cpu() * rows, torch.tensor([float(rows)]), used.float()])
        flat = torch.cat([*(part.flatten() * rows for part in parts), numbers.to(parts[0])])
        self.group.add(flat)
        sizes = [*(part.numel() for part in parts), 1, 1, len(parameters)]
        *sums, total, count, users = torch.split(flat, sizes)
        self._rows = round(float(count))
        for parameter, sum_, user in zip(parameters, sums, users.tolist(), strict=True):
            if user:  # a parameter that no process used keeps no gradient, so that the optimizer leaves it out
                parameter.grad = (sum_ / count).view_as(parameter).to(parameter.dtype)
        mean_of_all: Tensor = (total / count)[0]
        return mean_of_all

    def rows(self, batch: Batch) -> int:
        """See :meth:`Update.rows`; the rows of all processes."""
        return self._rows


def check_no_batch_norm(module: nn.Module, processes: int) -> None:
    """Check that no layer of a network normalizes over the whole minibatch.

    Raises:
        UnsupportedError: a layer does.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise UnsupportedError(
                f"learner.network: layer {name} ({type(layer).__name__}) normalizes over the minibatch, which "
                f"{processes} processes divide; use a network with layer_norm, or start rlcl run without torchrun"
            )
