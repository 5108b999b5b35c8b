"""Initial weights of a learner's networks, copied from another run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.types import InitialWeights

__all__ = ["load_initial_weights"]


def load_initial_weights(initial: InitialWeights | None, modules: Mapping[str, nn.Module]) -> None:
    """Copy weights into modules, in place.

    Args:
        initial: the weights, or None for no change.
        modules: modules by the names of the networks in ``initial``.

    Raises:
        UnsupportedError: a weight is missing on one side or has different shapes; the message has its name and shapes.
    """
    if initial is None:
        return
    own = {f"{key}.{name}": tensor for key, module in modules.items() for name, tensor in module.state_dict().items()}
    source = {f"{key}.{name}": tensor for key, part in initial.networks.items() for name, tensor in part.items()}
    required = dict.fromkeys((*source, *(own if initial.complete else ())))
    for name in required:
        own_tensor, source_tensor = own.get(name), source.get(name)
        if own_tensor is None or source_tensor is None or own_tensor.shape != source_tensor.shape:
            raise UnsupportedError(
                f"initial: {name} is {_shape(source_tensor)} in {initial.origin}, and {_shape(own_tensor)} in this "
                "learner; use the same network, or select the matching weights with initial.parameters"
            )
    with torch.no_grad():
        for name, tensor in source.items():
            own[name].copy_(tensor)


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"of shape {tuple(tensor.shape)}"
