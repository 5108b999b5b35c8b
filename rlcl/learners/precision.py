"""Check that torch computes correct gradients in a reduced precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from rlcl.errors import UnsupportedError
from rlcl.learners.trial_pass import input_shapes

__all__ = ["check_precision"]


def check_precision(module: nn.Module, forward: Callable[[], Any], precision: str, device: str) -> None:
    """Check that no convolution has the shape whose bfloat16 gradient torch computes wrongly on a CPU.

    With a stride that is larger than the input, and with padding, the gradient of the weights contains uninitialized
    memory (torch 2.13, oneDNN, CPUs without bfloat16 instructions). A ResNet whose input is small has such layers.

    Args:
        module: the network to be trained.
        forward: function that runs the network on one example.
        precision: precision of the forward pass.
        device: torch device.

    Raises:
        UnsupportedError: the network has such a convolution; the message names it and its input.
    """
    if precision != "bfloat16" or not device.startswith("cpu"):
        return
    for name, layer, shape in input_shapes(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d), forward):
        sizes, padding = shape[2:], layer.padding
        if isinstance(padding, str):  # "same" is possible for stride 1 only, and "valid" is no padding
            continue
        if any(stride > size and pad > 0 for stride, size, pad in zip(layer.stride, sizes, padding, strict=True)):
            pixels = " x ".join(map(str, sizes))
            raise UnsupportedError(
                f"learner.precision: bfloat16: on a CPU, torch computes a wrong gradient for the network's layer "
                f"{name}, whose stride {layer.stride[0]} is larger than its input of {pixels} pixels; set float32, or "
                "a network for small images (network.small_images: true)"
            )
