"""The loss of an update: a learner's own, and what methods add to it in the same pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.types import Batch, PenalizingMethod

__all__ = ["LossMean", "Objective", "norm_of", "weighed"]


@define(eq=False)
class Objective:
    """What an update descends.

    Args:
        loss: the learner's own, a mean over a batch.
        penalizing: methods whose penalty is computed from the very pass of it.
    """

    loss: Callable[[Batch], Tensor]
    penalizing: Sequence[PenalizingMethod] = ()
    passes: list[tuple[Tensor, Tensor]] = field(init=False, factory=list)  # of the update: inputs and outputs
    _rows: int = field(init=False, default=0)  # of the minibatch, without what methods joined to it
    _updating: bool = field(init=False, default=False)

    def start(self, batch: Batch) -> None:
        """Begin the update of a minibatch, before methods join to it."""
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
        """What methods add to the loss of the pass that was just made."""
        for method in self.penalizing:
            x, outputs = (column[: self._rows] for column in self.passes[0])
            penalty = method.penalty(x, outputs)
            if penalty is not None:
                yield penalty

    @property
    def given(self) -> Tensor:
        """(B, K) outputs that the loss of the update in progress saw, without gradient."""
        return torch.cat([outputs.detach().float() for _, outputs in self.passes])[: self._rows]

    def with_memory(self, loss: Tensor, x: Tensor, outputs: Tensor, batch: Batch) -> Tensor:
        """See :meth:`rlcl.learners.gradient.GradientLearner.with_memory`."""
        if self._updating:
            self.passes.append((x, outputs))
        if batch.outputs is None or batch.pulls is None:
            return loss
        distances = (outputs.float() - batch.outputs).square().flatten(1).mean(1)
        return loss + (batch.pulls * distances).mean()


@define(eq=False)
class LossMean:
    """The mean loss since the last event, added up on the device so that adding never waits for one."""

    device: str
    _sum: Tensor = field(init=False)
    _count: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._sum = torch.zeros((), device=self.device)

    def add(self, loss: Tensor) -> None:
        self._sum += loss
        self._count += 1

    def read(self, *norms: Tensor) -> list[float]:
        """The mean, and other scalars with it in one transfer; begins anew."""
        found: list[float] = torch.stack([self._sum / self._count, *norms]).tolist()
        self._sum.zero_()
        self._count = 0
        return found

    def state_dict(self) -> list[Any]:
        return [self._sum, self._count]

    def load_state_dict(self, state: Sequence[Any]) -> None:
        self._sum, self._count = state[0].to(self.device), state[1]


def weighed(errors: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of errors (B, K), a scalar, each row times its weight (B,); None for 1."""
    return errors.mean() if weights is None else (errors.mean(1) * weights).mean()


def norm_of(tensors: list[Tensor]) -> Tensor:
    """The Euclidean norm of all of them, a scalar."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))
    return norm
