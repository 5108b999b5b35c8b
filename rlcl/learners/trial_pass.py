"""Shapes of the inputs of a network's layers, from a trial forward pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from torch import Tensor, nn

from rlcl.methods.parts.evaluation_mode import evaluation_mode

__all__ = ["input_shapes"]

L = TypeVar("L", bound=nn.Module)


def input_shapes(
    module: nn.Module, kind: type[L] | tuple[type[L], ...], forward: Callable[[], Any]
) -> list[tuple[str, L, tuple[int, ...]]]:
    """Return the layers of some types that a forward pass calls, each with the shape of its input.

    Args:
        module: network that contains the layers.
        kind: type or types of the layers.
        forward: function that runs the network; it is called in evaluation mode, without gradients.

    Returns:
        Name of the layer, layer and shape of each call.
    """
    calls: list[tuple[str, L, tuple[int, ...]]] = []

    def record(name: str, layer: Any, arguments: tuple[Tensor, ...]) -> None:
        calls.append((name, layer, tuple(arguments[0].shape)))

    layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, kind)]
    if not layers:
        return []
    handles = [layer.register_forward_pre_hook(partial(record, name)) for name, layer in layers]
    try:
        with evaluation_mode(module):  # without gradients
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return calls
