"""torch's fused Adam with less around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from attrs import define
from torch import Tensor, nn

__all__ = ["FusedAdam", "gradients_of", "lay_out"]


@define(eq=False)
class _Held:
    """What a step of one group works on, found once; each list has one tensor where all lie in one row."""

    states: list[dict[str, Tensor]]
    own_gradients: list[Tensor]
    parameters: list[Tensor]
    gradients: list[Tensor]
    moments: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]


class FusedAdam(torch.optim.Adam):
    """Adam on a CPU: the numbers of ``torch.optim.Adam(fused=True)``, in less time.

    For small networks what surrounds torch's fused operation takes several times as long as it does. This finds the
    tensors once, and again when a state was loaded or forgotten. Where parameters and gradients lie one behind
    the other (:func:`lay_out`), moments are made to as well, and all are one tensor to it.
    """

    def __init__(self, parameters: Sequence[Tensor], **options: Any) -> None:
        super().__init__(parameters, **{**options, "fused": True})  # of a copy's defaults it is one
        self._held: dict[int, _Held] = {}

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

    step.hooked = True  # type: ignore[attr-defined]  # torch is not to wrap it in hooks once more

    def state_dict(self) -> dict[str, Any]:
        """As torch's: with a count of steps of its own for each parameter, which share one here."""
        saved = super().state_dict()
        saved["state"] = {key: {**its, "step": its["step"].clone()} for key, its in saved["state"].items()}
        return saved

    @property
    def gradients(self) -> list[Tensor]:
        """Those that the next step follows; writing into them changes it."""
        return [gradient for group in self.param_groups for gradient in self._holding(group).gradients]

    def _step(self, group: dict[str, Any]) -> None:
        held = self._holding(group)
        if not held.parameters:
            return
        torch._foreach_add_(list({id(step): step for step in held.steps}.values()), 1.0)
        beta1, beta2 = group["betas"]
        torch._fused_adam_(
            held.parameters,
            held.gradients,
            held.moments,
            held.squares,
            [],
            held.steps,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _holding(self, group: dict[str, Any]) -> _Held:
        held, state = self._held.get(id(group)), self.state
        with_gradient = [p for p in group["params"] if p.grad is not None]
        if held is not None and [id(state.get(p)) for p in with_gradient] == [id(its) for its in held.states]:
            if all(p.grad is its for p, its in zip(with_gradient, held.own_gradients, strict=True)):
                return held
            if held.parameters[0] is with_gradient[0]:  # not one row: gradients may be others at each step
                held.gradients = held.own_gradients = [p.grad for p in with_gradient]
                return held
        for p in with_gradient:
            if not state[p]:
                state[p]["step"] = torch.zeros((), dtype=torch.float32)
                state[p]["exp_avg"], state[p]["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        self._held[id(group)] = held = _hold(with_gradient, [state[p] for p in with_gradient])
        return held


def lay_out(parameters: Iterable[nn.Parameter], row: Tensor | None = None, slope: Tensor | None = None) -> Tensor:
    """Moves parameters into one row of memory, where each is a view; gradients, of those that learn, lie so too.

    Args:
        parameters: with W numbers in all.
        row: (W,) where to; memory of its own by default.
        slope: (W,) where gradients are to lie.

    Returns:
        (W,) the row; writing into it changes the parameters.
    """
    parameters = list(parameters)
    copied = torch.cat([p.detach().reshape(-1) for p in parameters])
    row = copied if row is None else row.copy_(copied)
    slope = torch.zeros_like(row) if slope is None else slope
    for p, values, gradient in zip(parameters, _views(row, parameters), _views(slope, parameters), strict=True):
        p.data, p.grad = values, gradient if p.requires_grad else None
    return row


def gradients_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The gradients that the next step of an optimizer follows, in as few tensors as there may be."""
    if isinstance(optimizer, FusedAdam):
        return optimizer.gradients
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def _hold(parameters: list[Tensor], states: list[dict[str, Tensor]]) -> _Held:
    gradients = [p.grad for p in parameters if p.grad is not None]
    # A count of steps is shared by those that step together here, and by no others.
    together = len({float(state["step"]) for state in states}) == 1
    shared = states[0]["step"].clone() if together else None
    for state in states:
        state["step"] = state["step"].clone() if shared is None else shared
    row, slope = _joined([p.detach() for p in parameters]), _joined(gradients)
    steps = [state["step"] for state in states]
    if row is None or slope is None or len({id(step) for step in steps}) > 1:
        moments, squares = ([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq"))
        return _Held(states, gradients, parameters, gradients, moments, squares, steps)
    for key in ("exp_avg", "exp_avg_sq"):
        its = torch.cat([state[key].reshape(-1) for state in states])
        for state, view in zip(states, _views(its, parameters), strict=True):
            state[key] = view
    moment, square = (_joined([state[key] for state in states]) for key in ("exp_avg", "exp_avg_sq"))
    assert moment is not None
    assert square is not None
    return _Held(states, gradients, [row], [slope], [moment], [square], steps[:1])


def _views(row: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(row, [p.numel() for p in like])
    return [part.view(p.shape) for part, p in zip(parts, like, strict=True)]


def _joined(tensors: Sequence[Tensor]) -> Tensor | None:
    """Tensors that lie one behind the other, as one of one dimension; None where they do not."""
    place = tensors[0].data_ptr() if tensors else None
    for tensor in tensors:
        if tensor.data_ptr() != place or not tensor.is_contiguous() or tensor.dtype != tensors[0].dtype:
            return None
        place += tensor.numel() * tensor.element_size()
    if not tensors or tensors[0].untyped_storage().data_ptr() != tensors[-1].untyped_storage().data_ptr():
        return None
    return tensors[0].as_strided((sum(t.numel() for t in tensors),), (1,))
