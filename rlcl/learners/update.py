"""One update: the backward pass of a loss and the optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, Literal

import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rlcl.errors import UnsupportedError
from rlcl.seeding import reproducible_backward
from rlcl.types import Batch, Schedule

__all__ = ["Precision", "Update", "compile_module", "split_batch"]

Precision = Literal["float32", "bfloat16", "float16"]


@define(eq=False)
class Update:
    """Backward pass and optimizer step, with the options that all gradient learners share.

    Hooks of methods run within the step, on the gradients of the whole minibatch in float32: before
    clipping, and after the float16 loss scale has been removed.

    Args:
        optimizer: optimizer of the module's parameters, on which the hooks of methods are registered already.
        module: module whose weights are averaged.
        accumulate: number of gradient-accumulation steps for a minibatch.
        clip_norm: maximum norm of the gradient; None for no clipping.
        precision: precision of the forward pass (autocast).
        schedule: learning-rate schedule; None for a constant learning rate.
        ema: decay of the average of the weights; None for no average.
        device: torch device.
    """

    optimizer: Optimizer
    module: nn.Module
    accumulate: int
    clip_norm: float | None
    precision: Precision
    schedule: Schedule | None
    ema: float | None
    device: str
    average: AveragedModel | None = field(init=False, default=None)
    _scaler: torch.amp.GradScaler | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        if self.clip_norm is not None:
            self.optimizer.register_step_pre_hook(self._clip)
        if self.precision == "float16":
            self._scaler = torch.amp.GradScaler(torch.device(self.device).type)
            # Otherwise a fused optimizer steps, and calls its hooks, even if gradients have overflowed.
            self.optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        if self.ema is not None:
            self.average = AveragedModel(self.module, multi_avg_fn=get_ema_multi_avg_fn(self.ema))  # type: ignore[no-untyped-call]
            self.optimizer.register_step_post_hook(self._average)
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def __call__(self, loss: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        """Run one update.

        Args:
            loss: function that returns the mean loss over a batch, a scalar.
            batch: minibatch, including the examples that methods added.

        Returns:
            The loss, a scalar without gradient.
        """
        self.optimizer.zero_grad()
        total = self.gradients(loss, batch)
        if self._scaler is None:
            self.optimizer.step()
        else:
            self._scaler.unscale_(self.optimizer)
            self._scaler.step(self.optimizer)
            self._scaler.update()
        return total

    def gradients(self, loss: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        """Compute the gradients of a loss; return the loss, a scalar without gradient. See :meth:`__call__`."""
        rows = len(batch.inputs)
        with reproducible_backward(max(rows // self.accumulate, 1)):
            if self.accumulate > 1:
                parts = [(part, len(part.inputs) / rows) for part in split_batch(batch, self.accumulate)]
                losses = [self._backward(self._cast(loss, part) * fraction) for part, fraction in parts]
                total = torch.stack(losses).sum()
            elif self.precision == "float32":
                total = self._backward(loss(batch))
            else:
                total = self._backward(self._cast(loss, batch))
        return total

    def rows(self, batch: Batch) -> int:
        """Return the number of rows of the minibatch of the last update, to which ``batch`` belongs."""
        return len(batch.inputs)

    def _cast(self, loss: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        """Return the loss of a batch, computed in the configured precision."""
        with self.autocast():
            return loss(batch)

    def _backward(self, loss: Tensor) -> Tensor:
        """Backpropagate a loss and return it without gradient."""
        if loss.ndim:
            raise UnsupportedError(f"the loss must be a scalar, the mean over the batch; got shape {tuple(loss.shape)}")
        scaled: Any = loss if self._scaler is None else self._scaler.scale(loss)
        scaled.backward()
        return loss.detach()

    def autocast(self) -> Any:
        """Return a context in which a forward pass has the configured precision."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=getattr(torch, self.precision))

    @property
    def weights(self) -> Mapping[str, nn.Module]:
        """The module and its average, if there is one, by name."""
        return {"module": self.module} if self.average is None else {"module": self.module, "average": self.average}

    def set_learning_rate(self, update: int, updates: int) -> None:
        """Set the learning rate of an update by the schedule.

        Args:
            update: index of the update, from 0, within the scope of the schedule.
            updates: total number of updates in that scope.
        """
        if self.schedule is None:
            return
        factor = self.schedule(update, updates)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def _clip(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        assert self.clip_norm is not None
        nn.utils.clip_grad_norm_(parameters, self.clip_norm)

    def _average(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        assert self.average is not None
        self.average.update_parameters(self.module)

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if self._scaler is None else self._scaler.state_dict(),
            "average": None if self.average is None else dict(self.average.state_dict()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def compile_module(module: nn.Module) -> nn.Module:
    """Compile the calls of a module, in place; its copies and its state dict do not change.

    ``Module.compile`` has no effect on a module of torch's own classes, such as ``Sequential`` (torch
    2.13), because torch does not compile functions in its own files. Therefore a function of this file is compiled.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        return module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]

    module._compiled_call_impl = torch.compile(call)
    return module


def split_batch(batch: Batch, parts: int) -> Iterator[Batch]:
    """Yield at most ``parts`` parts of a batch, of sizes that differ by at most 1."""
    columns = [None if column is None else column.tensor_split(min(parts, len(column))) for column in batch]
    assert columns[0] is not None
    for index in range(len(columns[0])):
        yield Batch(*[None if column is None else column[index] for column in columns])  # type: ignore[arg-type]
