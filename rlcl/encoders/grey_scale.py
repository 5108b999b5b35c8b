"""Conversion of colour images to grey scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define
from torch import Tensor

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.types import Encoder, TaskIds

__all__ = ["GreyScale"]

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue


@define(kw_only=True)
class GreyScale(Encoder):
    """Conversion of colour images to one channel, 0.299 R + 0.587 G + 0.114 B.

    For 8-bit images the values are integers in [0, 255].

    Args:
        channels: axis of the three channels, ``first`` or ``last``; null for the axis of length 3
            (first in data sets, last in Gymnasium's images).
        resize: height and width of the result in pixels, by averaging over the pixels that a new pixel covers; null
            for no resizing.

    Source: ITU-R Recommendation BT.601-7, section 2.5.1.
    """

    channels: Literal["first", "last"] | None = option(None)
    resize: int | None = option(None, ge=1)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        axis = self._axis(observation_shape)
        height, width = observation_shape[1:] if axis == 0 else observation_shape[:2]
        size = (self.resize or height, self.resize or width)
        return (1, *size) if axis == 0 else (*size, 1)

    def space(self, space: gym.spaces.Box) -> gym.spaces.Box:
        """Return a uint8 space for 8-bit images; see :meth:`rlcl.types.Encoder.space`."""
        if space.dtype == np.uint8:
            return gym.spaces.Box(0, 255, self.shape(space.shape), np.uint8)
        return super().space(space)

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        last = self._axis(tuple(x.shape[1:])) == 2
        red, green, blue = (x.movedim(3, 1) if last else x).to(torch.float32).unbind(1)
        grey = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)
        if self.resize is not None:
            grey = _area_resize(grey, self.resize)
        if x.dtype == torch.uint8:
            grey = grey.round()
        return grey.movedim(1, 3) if last else grey

    def _axis(self, shape: tuple[int, ...]) -> int:
        """Return the axis of the channels, 0 or 2.

        Raises:
            UnsupportedError: no axis has three channels, or the axis is ambiguous.
        """
        axes = [axis for axis in (0, 2) if len(shape) == 3 and shape[axis] == 3]
        if self.channels is not None:
            axes = [axis for axis in axes if axis == {"first": 0, "last": 2}[self.channels]]
        if len(axes) == 1:
            return axes[0]
        if axes:
            raise UnsupportedError(
                f"encoder grey_scale: inputs of shape {shape} may have their channels first or last; set channels"
            )
        expected = {"first": "(3, height, width)", "last": "(height, width, 3)", None: "(3, height, width) or (..., 3)"}
        raise UnsupportedError(
            f"encoder grey_scale: expected coloured images of shape {expected[self.channels]}, got {shape}; put it "
            "before encoders that change their shape, or remove it"
        )

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def _area_resize(images: Tensor, size: int) -> Tensor:
    """Resize images (B, C, height, width) to (B, C, size, size) by the mean over the pixels that a new one covers."""
    if not torch.onnx.is_in_onnx_export():
        return F.interpolate(images, (size, size), mode="area")
    rows, columns = (_area_weights(int(length), size) for length in images.shape[2:])  # ONNX has no such operation
    return rows @ images @ columns.T


def _area_weights(length: int, size: int) -> Tensor:
    """Return the weights (size, length) of the old pixels in the means of the new pixels."""
    new, old = torch.arange(size)[:, None], torch.arange(length)[None]
    covered = (old >= new * length // size) & (old < -(-(new + 1) * length // size))
    return covered.float() / covered.sum(1, keepdim=True)
