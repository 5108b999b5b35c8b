"""Loss of an update: the learner's loss and the penalties that methods add to it in the same forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.types import Batch, PenalizingMethod

__all__ = ["RunningLoss", "TrainingObjective", "total_norm", "weighted_mean"]


@define(eq=False)
class TrainingObjective:
    """The objective that an update minimizes.

    Args:
        loss: loss of the learner, a mean over a batch.
        penalizing: methods whose penalty is computed from the forward pass of the loss.
    """

    loss: Callable[[Batch], Tensor]
    penalizing: Sequence[PenalizingMethod] = ()
    passes: list[tuple[Tensor, Tensor]] = field(init=False, factory=list)  # inputs and outputs of each forward pass
    _rows: int = field(init=False, default=0)  # rows of the minibatch, without the examples that methods added
    _updating: bool = field(init=False, default=False)

    def start(self, batch: Batch) -> None:
        """Start the update of a minibatch, before methods add examples to it."""
        self.passes.clear()
        self._rows = len(batch.inputs)

    def __call__(self, batch: Batch) -> Tensor:
        self._updating = True
        loss = self.loss(batch)
        self._updating = False
        for penalty in self.penalties():
            loss = loss + penalty
        return loss

    def penalties(self) -> Iterator[Tensor]:
        """Yield the penalties of the methods for the last forward pass."""
        for method in self.penalizing:
            x, outputs = (column[: self._rows] for column in self.passes[0])
            penalty = method.penalty(x, outputs)
            if penalty is not None:
                yield penalty

    @property
    def outputs(self) -> Tensor:
        """Outputs (B, K) from which the loss of the update in progress was computed, without gradient."""
        return torch.cat([outputs.detach().float() for _, outputs in self.passes])[: self._rows]

    def with_memory(self, loss: Tensor, x: Tensor, outputs: Tensor, batch: Batch) -> Tensor:
        """See :meth:`rlcl.learners.gradient.GradientLearner.with_memory`."""
        if self._updating:
            self.passes.append((x, outputs))
        if batch.outputs is None or batch.distillation_weights is None:
            return loss
        distances = (outputs.float() - batch.outputs).square().flatten(1).mean(1)
        return loss + (batch.distillation_weights * distances).mean()


@define(eq=False)
class RunningLoss:
    """Mean loss since the last event, accumulated on the device so that adding does not wait for it."""

    device: str
    _sum: Tensor = field(init=False)
    _count: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._sum = torch.zeros((), device=self.device)

    def add(self, loss: Tensor) -> None:
        self._sum += loss
        self._count += 1

    def read(self, *norms: Tensor) -> list[float]:
        """Return the mean loss and other scalars in a single transfer to the host, and reset the mean."""
        values: list[float] = torch.stack([self._sum / self._count, *norms]).tolist()
        self._sum.zero_()
        self._count = 0
        return values

    def state_dict(self) -> list[Any]:
        return [self._sum, self._count]

    def load_state_dict(self, state: Sequence[Any]) -> None:
        self._sum, self._count = state[0].to(self.device), state[1]


def weighted_mean(errors: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean of errors (B, K), a scalar; each row is multiplied by its weight (B,), or 1 if None."""
    return errors.mean() if weights is None else (errors.mean(1) * weights).mean()


def total_norm(tensors: list[Tensor]) -> Tensor:
    """Return the Euclidean norm of all tensors together, a scalar."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))
    return norm
