"""Adam's count of steps for each weight, where some were replaced and their moments forgotten.

Adam divides its moments by ``1 - beta ** step``, which makes up for their start at zero. torch counts the steps of a
whole parameter: moments that are forgotten later are never made up for, and a weight then moves by three to six
learning rates at a step. Here what such a weight moved is corrected after each step to what its own count makes of it.

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

__all__ = ["WeightSteps", "correction"]

NEGLIGIBLE = 1e-8  # of a whole, below which float32 does not tell a count from an infinite one


def correction(
    moment: Tensor, square: Tensor, own: Tensor, step: float, lr: float, betas: tuple[float, float], eps: float
) -> Tensor:
    """(M,) what is to be added to weights that Adam has moved as if they had made ``step`` steps.

    Args:
        moment, square: (M,) Adam's running means of gradients and of their squares, after the step.
        own: (M,) steps since they were forgotten, at least 1.
        step: of the whole parameter.
        lr, betas, eps: of Adam.
    """

    def moved(steps: Tensor) -> Tensor:
        first, second = (1 - beta**steps for beta in betas)
        return lr * (moment / first) / ((square / second).sqrt() + eps)

    return moved(torch.full_like(own, step)) - moved(own)


@define(eq=False)
class WeightSteps:
    """For each parameter by name, the step at which each of its weights was replaced; 0 for none."""

    _born: dict[str, Tensor] = field(init=False, factory=dict)

    def restart(self, optimizer: Optimizer, replaced: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Counts from 0 again for some weights, whose moments have been forgotten.

        Args:
            optimizer: which has just made a step.
            replaced: a parameter, and a mask of its shape, by name.
        """
        for name, (parameter, mask) in replaced.items():
            kept = _adam(optimizer, parameter)
            if kept is not None:
                born = self._born.setdefault(name, torch.zeros_like(parameter, dtype=torch.float32))
                born[mask] = float(kept[0]["step"])

    def correct(self, optimizer: Optimizer, parameters: Mapping[str, Tensor]) -> None:
        """Moves replaced weights to where the optimizer's last step would have by their own counts."""
        for name, born in self._born.items():
            kept = _adam(optimizer, parameters[name])
            if kept is not None:
                self._correct(parameters[name], born, *kept)

    def _correct(self, parameter: Tensor, born: Tensor, state: Mapping[str, Tensor], group: Mapping[str, Any]) -> None:
        step = float(state["step"])
        if step <= float(born.max()):  # the optimizer was reset since, and counts for all of them
            born.zero_()
        horizon = math.log(NEGLIGIBLE) / math.log(max(*group["betas"], NEGLIGIBLE))
        young = ((born > 0) & (step - born < horizon)).nonzero(as_tuple=True)
        if len(young[0]):
            moment, square = state["exp_avg"][young].double(), state["exp_avg_sq"][young].double()
            own = step - born[young].double()
            added = correction(moment, square, own, step, float(group["lr"]), group["betas"], group["eps"])
            parameter.data[young] += added.to(parameter.dtype)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._born)

    def load_state_dict(self, state: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> None:
        self._born = {name: born.to(parameters[name].device, copy=True) for name, born in state.items()}


def _adam(optimizer: Optimizer, parameter: Tensor) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
    """A parameter's state and group, where it is Adam that steps over it and has begun to; None of any other."""
    state = optimizer.state.get(parameter)
    if not isinstance(optimizer, Adam | AdamW) or not state:
        return None
    group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
    return None if group["amsgrad"] else (state, group)
