"""Gradient clipping by the norm, including gradients that methods add."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from rlcl.learners.fast.fused_adam import gradients_of

__all__ = ["clip_gradients"]


def clip_gradients(optimizer: Optimizer, norm: float | None) -> None:
    """Clip the norm of an optimizer's gradient before each step, including gradients that methods add.

    Args:
        optimizer: the optimizer to which the hook is attached.
        norm: maximum norm over all of its parameters; None for no clipping.
    """
    if norm is None:
        return

    def clip(*_: Any) -> None:
        # Equal to nn.utils.clip_grad_norm_, in a third of its time for small networks.
        gradients = gradients_of(optimizer)
        total = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (norm / (total + 1e-6)).clamp_(max=1.0))

    optimizer.register_step_pre_hook(clip)
