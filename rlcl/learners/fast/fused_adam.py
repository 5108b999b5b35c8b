"""Torch's fused Adam with less overhead in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from attrs import define
from torch import Tensor, nn

__all__ = ["FusedAdam", "gradients_of", "pack_parameters"]


@define(eq=False)
class _StepTensors:
    """The tensors that a step of one parameter group updates.

    Each list but the first two has a single tensor if the tensors are contiguous in memory.
    """

    states: list[dict[str, Tensor]]
    parameter_gradients: list[Tensor]  # ``grad`` of each parameter
    parameters: list[Tensor]
    gradients: list[Tensor]
    moments: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]


class FusedAdam(torch.optim.Adam):
    """Adam on a CPU, with the same results as ``torch.optim.Adam(fused=True)`` in less time.

    For small networks the code around torch's fused operation takes several times as long as the operation. This class
    collects the tensors once, and again after a state has been loaded or cleared. If parameters and gradients are
    contiguous in memory (:func:`pack_parameters`), the moments are made contiguous too, and the fused operation gets
    one tensor of each.
    """

    def __init__(self, parameters: Sequence[Tensor], **options: Any) -> None:
        super().__init__(parameters, **{**options, "fused": True})  # the defaults of another optimizer may contain it
        self._step_tensors: dict[int, _StepTensors] = {}  # by the id of the parameter group

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        for hook in tuple(self._optimizer_step_pre_hooks.values()):
            hook(self, (self,), {})
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                self._step(group)
        for hook in tuple(self._optimizer_step_post_hooks.values()):
            hook(self, (self,), {})
        return loss

    step.hooked = True  # type: ignore[attr-defined]  # so that torch does not wrap it to call the hooks again

    def state_dict(self) -> dict[str, Any]:
        """Return the state in the format of torch, with a separate step count for each parameter."""
        saved = super().state_dict()
        saved["state"] = {key: {**entries, "step": entries["step"].clone()} for key, entries in saved["state"].items()}
        return saved

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients that the next step uses; they can be changed in place."""
        return [gradient for group in self.param_groups for gradient in self._tensors_of(group).gradients]

    def _step(self, group: dict[str, Any]) -> None:
        tensors = self._tensors_of(group)
        if not tensors.parameters:
            return
        torch._foreach_add_(list({id(step): step for step in tensors.steps}.values()), 1.0)
        beta1, beta2 = group["betas"]
        torch._fused_adam_(
            tensors.parameters,
            tensors.gradients,
            tensors.moments,
            tensors.squares,
            [],
            tensors.steps,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _tensors_of(self, group: dict[str, Any]) -> _StepTensors:
        """Return the tensors of a parameter group, collected again if they are not valid any more."""
        tensors, state = self._step_tensors.get(id(group)), self.state
        with_gradient = [p for p in group["params"] if p.grad is not None]
        if tensors is not None and [id(state.get(p)) for p in with_gradient] == [id(s) for s in tensors.states]:
            if all(p.grad is gradient for p, gradient in zip(with_gradient, tensors.parameter_gradients, strict=True)):
                return tensors
            if tensors.parameters[0] is with_gradient[0]:  # not contiguous: gradients may be new tensors in each step
                tensors.gradients = tensors.parameter_gradients = [p.grad for p in with_gradient]
                return tensors
        for p in with_gradient:
            if not state[p]:
                state[p]["step"] = torch.zeros((), dtype=torch.float32)
                state[p]["exp_avg"], state[p]["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        self._step_tensors[id(group)] = tensors = _collect(with_gradient, [state[p] for p in with_gradient])
        return tensors


def pack_parameters(
    parameters: Iterable[nn.Parameter], row: Tensor | None = None, gradient_row: Tensor | None = None
) -> Tensor:
    """Move parameters, and the gradients of trainable ones, into contiguous memory, and make them views of it.

    Args:
        parameters: parameters with W elements in total.
        row: (W,) memory for the parameters; newly allocated by default.
        gradient_row: (W,) memory for the gradients; newly allocated by default.

    Returns:
        (W,) the contiguous parameters; writing into it changes the parameters.
    """
    parameters = list(parameters)
    packed = torch.cat([p.detach().reshape(-1) for p in parameters])
    row = packed if row is None else row.copy_(packed)
    gradient_row = torch.zeros_like(row) if gradient_row is None else gradient_row
    for p, values, gradient in zip(parameters, _views(row, parameters), _views(gradient_row, parameters), strict=True):
        p.data, p.grad = values, gradient if p.requires_grad else None
    return row


def gradients_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the gradients that the next step of an optimizer uses, in as few tensors as possible."""
    if isinstance(optimizer, FusedAdam):
        return optimizer.gradients
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def _collect(parameters: list[Tensor], states: list[dict[str, Tensor]]) -> _StepTensors:
    """Return the tensors for a step of parameters, and make the moments contiguous if the parameters are."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    # Parameters with the same step count share one tensor for it, which no other parameter has.
    same_step = len({float(state["step"]) for state in states}) == 1
    shared_step = states[0]["step"].clone() if same_step else None
    for state in states:
        state["step"] = state["step"].clone() if shared_step is None else shared_step
    row, gradient_row = _contiguous_view([p.detach() for p in parameters]), _contiguous_view(gradients)
    steps = [state["step"] for state in states]
    if row is None or gradient_row is None or len({id(step) for step in steps}) > 1:
        moments, squares = ([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq"))
        return _StepTensors(states, gradients, parameters, gradients, moments, squares, steps)
    for key in ("exp_avg", "exp_avg_sq"):
        packed = torch.cat([state[key].reshape(-1) for state in states])
        for state, view in zip(states, _views(packed, parameters), strict=True):
            state[key] = view
    moment, square = (_contiguous_view([state[key] for state in states]) for key in ("exp_avg", "exp_avg_sq"))
    assert moment is not None
    assert square is not None
    return _StepTensors(states, gradients, [row], [gradient_row], [moment], [square], steps[:1])


def _views(row: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return consecutive views of a tensor (W,), with the shapes of other tensors."""
    parts = torch.split(row, [p.numel() for p in like])
    return [part.view(p.shape) for part, p in zip(parts, like, strict=True)]


def _contiguous_view(tensors: Sequence[Tensor]) -> Tensor | None:
    """Return tensors that are contiguous in memory as one tensor (W,), or None if they are not contiguous."""
    address = tensors[0].data_ptr() if tensors else None
    for tensor in tensors:
        if tensor.data_ptr() != address or not tensor.is_contiguous() or tensor.dtype != tensors[0].dtype:
            return None
        address += tensor.numel() * tensor.element_size()
    if not tensors or tensors[0].untyped_storage().data_ptr() != tensors[-1].untyped_storage().data_ptr():
        return None
    return tensors[0].as_strided((sum(t.numel() for t in tensors),), (1,))
