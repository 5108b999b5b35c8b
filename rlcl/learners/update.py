"""One update: a minibatch becomes a step of the optimizer."""

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
from rlcl.types import Batch, Schedule

__all__ = ["Precision", "Update", "compiled"]

Precision = Literal["float32", "bfloat16", "float16"]


@define(eq=False)
class Update:
    """Backpropagates a loss and steps, by the options that all gradient learners share.

    Hooks of methods run within the step, on the gradients of the whole minibatch in float32: before
    clipping, and after the loss scale of float16 has been taken out.

    Args:
        optimizer: steps over the module's parameters; every method's hooks are on it already.
        module: whose average is kept.
        accumulate: parts of the minibatch, computed one after the other; their gradients add up.
        clip_norm: the greatest norm of the gradient, None for any.
        precision: of the forward pass (autocast).
        schedule: factor of the learning rate, None for a constant one.
        ema: decay of the average of the weights, None for none.
        device: a torch device.
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
            # Else a fused optimizer's step, and with it every hook, runs where gradients have overflowed.
            self.optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        if self.ema is not None:
            self.average = AveragedModel(self.module, multi_avg_fn=get_ema_multi_avg_fn(self.ema))  # type: ignore[no-untyped-call]
            self.optimizer.register_step_post_hook(self._average)
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def __call__(self, loss: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        """
        Args:
            loss: mean over a batch, a scalar.
            batch: with what methods joined to it.

        Returns:
            The loss, a scalar without gradient.
        """
        self.optimizer.zero_grad()
        if self.accumulate == 1:
            total = (
                self._backward(loss(batch)) if self.precision == "float32" else self._backward(self._cast(loss, batch))
            )
        else:
            shares = [(part, len(part.inputs) / len(batch.inputs)) for part in split(batch, self.accumulate)]
            total = torch.stack([self._backward(self._cast(loss, part) * share) for part, share in shares]).sum()
        if self._scaler is None:
            self.optimizer.step()
        else:
            self._scaler.unscale_(self.optimizer)
            self._scaler.step(self.optimizer)
            self._scaler.update()
        return total

    def _cast(self, loss: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        with self.autocast():
            return loss(batch)

    def _backward(self, loss: Tensor) -> Tensor:
        if loss.ndim:
            raise UnsupportedError(
                f"the loss must be one number, the mean over the batch; got shape {tuple(loss.shape)}"
            )
        scaled: Any = loss if self._scaler is None else self._scaler.scale(loss)
        scaled.backward()
        return loss.detach()

    def autocast(self) -> Any:
        """The context in which a forward pass has the precision."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=getattr(torch, self.precision))

    @property
    def weights(self) -> Mapping[str, nn.Module]:
        """The module and its average, by name."""
        return {"module": self.module} if self.average is None else {"module": self.module, "average": self.average}

    def scheduled(self, update: int, updates: int) -> None:
        """Sets the learning rate of an update, from 0, out of all that the schedule runs over."""
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


def compiled(module: nn.Module) -> nn.Module:
    """The module, whose calls torch compiles from now on; its copies and its state are as before.

    ``Module.compile`` leaves a module of torch's own class, such as ``Sequential``, as it is (torch
    2.13), for it compiles nothing in torch's own files: so the call is a function of ours.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        return module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]

    module._compiled_call_impl = torch.compile(call)
    return module


def split(batch: Batch, parts: int) -> Iterator[Batch]:
    """The batch in at most that many parts, as equal as can be."""
    pieces = [None if column is None else column.tensor_split(min(parts, len(column))) for column in batch]
    assert pieces[0] is not None
    for place in range(len(pieces[0])):
        yield Batch(*[None if column is None else column[place] for column in pieces])  # type: ignore[arg-type]
