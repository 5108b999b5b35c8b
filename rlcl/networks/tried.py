"""Whether a network's module does what a learner needs, found out before anything is trained."""

from __future__ import annotations

import torch
from torch import nn

from rlcl.errors import UnsupportedError
from rlcl.networks.task_ids import takes_task_ids
from rlcl.registry import name_of

__all__ = ["tried"]


def tried(module: nn.Module, network: object, shape: tuple[int, ...], width: int, heads: bool = False) -> nn.Module:
    """The module, after one pass over two inputs of zeros.

    Args:
        module: as the network built it.
        network: for messages.
        shape: of one input.
        width: outputs that are expected.
        heads: whether the learner shows its network task ids.

    Raises:
        UnsupportedError: it is no module, refuses the shape, has another number of outputs, or wants
            task ids that it is not shown.
    """
    name = f"network {name_of('network', network)}"
    if not isinstance(module, nn.Module):
        raise UnsupportedError(f"{name}: build must return a torch.nn.Module, got {type(module).__name__}")
    takes_ids = takes_task_ids(module)
    if takes_ids and not heads:
        raise UnsupportedError(
            f"{name} chooses a head by the task id, which this learner does not show its networks; use another network"
        )
    ids = [torch.zeros(2, dtype=torch.int64)] if takes_ids else []
    try:
        with torch.no_grad():
            found = tuple(module.eval()(torch.zeros(2, *shape), *ids).shape)
    except (RuntimeError, TypeError) as error:  # another shape, or further arguments
        raise UnsupportedError(f"{name} refuses inputs of shape {shape}: {str(error).splitlines()[0]}") from error
    if found != (2, width):
        raise UnsupportedError(
            f"{name}: expected outputs of shape (B, {width}), got (B, {', '.join(map(str, found[1:]))})"
        )
    return module.train()
