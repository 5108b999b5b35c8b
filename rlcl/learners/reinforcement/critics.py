"""Twin critics, as learners of continuous actions have them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.learners.fast.twins import Apart, Twins, twins
from rlcl.networks.mlp import Mlp
from rlcl.networks.tried import tried
from rlcl.types import Network

__all__ = ["Seeing", "critics", "rows"]

SEEN = 256  # numbers that a critic makes of an image, and units of each of the two layers behind it


def critics(network: Network, shape: tuple[int, ...], numbers: int) -> Twins | Apart:
    """Two critics, each drawn by itself, that read rows: an observation, then an action.

    A network that reads no rows reads the observation alone, and a perceptron what it saw, and the action.

    Args:
        network: of each.
        shape: of one encoded observation.
        numbers: of an action.
    """
    width = math.prod(shape) + numbers
    try:
        return twins([tried(network.build((width,), 1, 1), network, (width,), 1) for _ in range(2)])
    except UnsupportedError:
        if len(shape) == 1:
            raise
        return twins([Seeing(tried(network.build(shape, SEEN, 1), network, shape, SEEN), shape, width) for _ in "12"])


def rows(observations: Tensor, actions: Tensor) -> Tensor:
    """(B, in) what critics read."""
    return torch.cat((observations.flatten(1), actions), 1)


class Seeing(nn.Module):
    """A critic that looks at an image before it reads the action.

    Args:
        eye: (B, *shape) to (B, SEEN).
        shape: of one observation.
        width: numbers in a row of observation and action.
    """

    def __init__(self, eye: nn.Module, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.eye, self._shape, self._pixels = eye, shape, math.prod(shape)
        self.judge = Mlp(hidden=(SEEN, SEEN)).build((SEEN + width - self._pixels,), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1) of rows (B, in)."""
        seen = self.eye(x[:, : self._pixels].reshape(-1, *self._shape)).relu()
        found: Tensor = self.judge(torch.cat((seen, x[:, self._pixels :]), 1))
        return found
