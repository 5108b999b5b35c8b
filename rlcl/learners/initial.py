"""Networks that begin with given weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.types import InitialWeights

__all__ = ["begin_with"]


def begin_with(initial: InitialWeights | None, modules: Mapping[str, nn.Module]) -> None:
    """Copies weights into modules, in place; nothing for None.

    Args:
        initial: the weights.
        modules: by the same names as its networks.

    Raises:
        UnsupportedError: a weight that is missing on either side or has another shape, by name and both shapes.
    """
    if initial is None:
        return
    ours = {f"{key}.{name}": tensor for key, module in modules.items() for name, tensor in module.state_dict().items()}
    theirs = {f"{key}.{name}": tensor for key, part in initial.networks.items() for name, tensor in part.items()}
    wanted = dict.fromkeys((*theirs, *(ours if initial.complete else ())))
    for name in wanted:
        here, there = ours.get(name), theirs.get(name)
        if here is None or there is None or here.shape != there.shape:
            raise UnsupportedError(
                f"initial: {name} is {_shape(there)} in {initial.origin}, and {_shape(here)} in this learner; use the "
                "same network, or take what fits by initial.parameters"
            )
    with torch.no_grad():
        for name, tensor in theirs.items():
            ours[name].copy_(tensor)


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"of shape {tuple(tensor.shape)}"
