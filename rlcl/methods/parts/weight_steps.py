"""Step counts of single weights in Adam, for weights whose moments were reset.

Adam divides its moments by ``1 - beta ** step``, which corrects the bias of their start at zero. torch counts the
steps of a whole parameter. It does not correct moments that are reset later, and such a weight moves by three to six
learning rates per step. This module corrects each step of such a weight to the step by the weight's own count.

Source: AdamGnT in the authors' code of Dohare et al. 2024, Loss of plasticity in deep continual learning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

__all__ = ["WeightSteps", "step_correction"]

NEGLIGIBLE = 1e-8  # relative difference below which a step count equals an infinite one in float32


def step_correction(
    moment: Tensor, square: Tensor, own: Tensor, step: float, lr: float, betas: tuple[float, float], eps: float
) -> Tensor:
    """Compute the corrections (M,) of weights that Adam has moved with the step count ``step``.

    Args:
        moment, square: (M,) Adam's running means of gradients and of their squares, after the step.
        own: (M,) steps since the moments were reset, at least 1.
        step: step count of the whole parameter.
        lr, betas, eps: settings of Adam.

    Returns:
        Values to add to the weights.
    """

    def change(steps: Tensor) -> Tensor:
        first, second = (1 - beta**steps for beta in betas)
        return lr * (moment / first) / ((square / second).sqrt() + eps)

    return change(torch.full_like(own, step)) - change(own)


@define(eq=False)
class WeightSteps:
    """Steps at which single weights were replaced, by parameter name; 0 for weights that were not replaced."""

    _restarts: dict[str, Tensor] = field(init=False, factory=dict)

    def restart(self, optimizer: Optimizer, replaced: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Restart the step counts of replaced weights, whose moments have been reset.

        Args:
            optimizer: after its step.
            replaced: by name, a parameter and a mask of its replaced weights, in its shape.
        """
        for name, (parameter, mask) in replaced.items():
            adam = _adam_state(optimizer, parameter)
            if adam is not None:
                restarts = self._restarts.setdefault(name, torch.zeros_like(parameter, dtype=torch.float32))
                restarts[mask] = float(adam[0]["step"])

    def correct(self, optimizer: Optimizer, parameters: Mapping[str, Tensor]) -> None:
        """Correct the optimizer's last step of replaced weights to their own step counts."""
        for name, restarts in self._restarts.items():
            adam = _adam_state(optimizer, parameters[name])
            if adam is not None:
                self._correct(parameters[name], restarts, *adam)

    def _correct(
        self, parameter: Tensor, restarts: Tensor, state: Mapping[str, Tensor], group: Mapping[str, Any]
    ) -> None:
        step = float(state["step"])
        if step <= float(restarts.max()):  # the optimizer was reset later, and its count holds for all weights
            restarts.zero_()
        horizon = math.log(NEGLIGIBLE) / math.log(max(*group["betas"], NEGLIGIBLE))
        recent = ((restarts > 0) & (step - restarts < horizon)).nonzero(as_tuple=True)
        if len(recent[0]):
            moment, square = state["exp_avg"][recent].double(), state["exp_avg_sq"][recent].double()
            own = step - restarts[recent].double()
            correction = step_correction(moment, square, own, step, float(group["lr"]), group["betas"], group["eps"])
            parameter.data[recent] += correction.to(parameter.dtype)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._restarts)

    def load_state_dict(self, state: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> None:
        self._restarts = {name: steps.to(parameters[name].device, copy=True) for name, steps in state.items()}


def _adam_state(optimizer: Optimizer, parameter: Tensor) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
    """Return Adam's state and group of a parameter; None for another optimizer, and before the first step."""
    state = optimizer.state.get(parameter)
    if not isinstance(optimizer, Adam | AdamW) or not state:
        return None
    group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
    return None if group["amsgrad"] else (state, group)
