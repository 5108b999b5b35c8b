"""Check of a network's module before training."""

from __future__ import annotations

import torch
from torch import nn

from rlcl.errors import UnsupportedError
from rlcl.networks.task_ids import takes_task_ids
from rlcl.registry import name_of

__all__ = ["check_forward"]


def check_forward(
    module: nn.Module, network: object, shape: tuple[int, ...], width: int, heads: bool = False
) -> nn.Module:
    """Run a module on two inputs of zeros, check what it returns, and return the module.

    Args:
        module: module built by the network.
        network: the network, for messages.
        shape: of one input.
        width: expected number of outputs.
        heads: whether the learner passes task ids to its network.

    Raises:
        UnsupportedError: the value is not a module, the module does not support the shape, has another number of
            outputs, or needs task ids that the learner does not provide.
    """
    name = f"network {name_of('network', network)}"
    if not isinstance(module, nn.Module):
        raise UnsupportedError(f"{name}: build must return a torch.nn.Module, got {type(module).__name__}")
    takes_ids = takes_task_ids(module)
    if takes_ids and not heads:
        raise UnsupportedError(
            f"{name} selects a head by the task id, which this learner does not pass to its networks; "
            "use another network"
        )
    ids = [torch.zeros(2, dtype=torch.int64)] if takes_ids else []
    try:
        with torch.no_grad():
            output_shape = tuple(module.eval()(torch.zeros(2, *shape), *ids).shape)
    except (RuntimeError, TypeError) as error:  # another shape, or further arguments
        raise UnsupportedError(
            f"{name} does not support inputs of shape {shape}: {str(error).splitlines()[0]}"
        ) from error
    if output_shape != (2, width):
        raise UnsupportedError(
            f"{name}: expected outputs of shape (B, {width}), got (B, {', '.join(map(str, output_shape[1:]))})"
        )
    return module.train()
