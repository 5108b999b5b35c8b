"""Flattening of structured observations inside a graph, for learners that receive flattened observations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

__all__ = ["FlattenObservations", "with_flattening"]


class FlattenObservations(nn.Module):
    """Module that flattens the parts of observations and passes them to another module; weights keep their names.

    Args:
        module: module that takes one vector per observation.
        space: space of one observation.
    """

    def __init__(self, module: nn.Module, space: gym.Space[Any]) -> None:
        super().__init__()
        self.module = module
        self._forward = with_flattening(module, space)

    def forward(self, *arrays: Tensor) -> Any:
        """Return the module's outputs for the parts of observations."""
        return self._forward(*arrays)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the state of the module itself."""
        return self.module.state_dict(*args, **kwargs)


def with_flattening(function: Callable[..., Any], space: gym.Space[Any]) -> Callable[..., Any]:
    """Wrap a function of flattened observations and further arrays, so that it takes the parts of observations."""
    count = len(subspaces(space))
    return lambda *arrays: function(flatten(arrays[:count], space), *arrays[count:])


def subspaces(space: gym.Space[Any]) -> Mapping[str, gym.Space[Any]]:
    """Return the spaces of an observation's parts by name."""
    return space.spaces if isinstance(space, gym.spaces.Dict) else {"input": space}


def flatten(inputs: tuple[Tensor, ...], space: gym.Space[Any]) -> Tensor:
    """Return (B, F) float32 as Gymnasium's ``flatten`` does: concatenated parts, with discrete values one-hot."""
    return torch.cat([_flatten_part(x, part) for x, part in zip(inputs, subspaces(space).values(), strict=True)], 1)


def _flatten_part(x: Tensor, space: gym.Space[Any]) -> Tensor:
    if isinstance(space, gym.spaces.Discrete):
        return F.one_hot(x - int(space.start), int(space.n)).to(torch.float32)
    if isinstance(space, gym.spaces.MultiDiscrete):
        values = (x - torch.from_numpy(space.start)).flatten(1).unbind(1)
        pairs = zip(values, space.nvec.ravel().tolist(), strict=True)
        return torch.cat([F.one_hot(value, n) for value, n in pairs], 1).to(torch.float32)
    return x.flatten(1).to(torch.float32)
