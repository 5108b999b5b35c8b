"""Twin critics, as learners of continuous actions have them."""

from __future__ import annotations

import torch
from torch import Tensor

from rlcl.networks.tried import tried
from rlcl.reinforcement.twins import Apart, Twins, twins
from rlcl.types import Network

__all__ = ["critics", "rows"]


def critics(network: Network, width: int) -> Twins | Apart:
    """Two critics, each drawn by itself, that read rows of so many numbers: observation, then action."""
    return twins([tried(network.build((width,), 1, 1), network, (width,), 1) for _ in range(2)])


def rows(observations: Tensor, actions: Tensor) -> Tensor:
    """(B, in) what critics read."""
    return torch.cat((observations.flatten(1), actions), 1)
