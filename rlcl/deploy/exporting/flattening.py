"""Observations of several parts in a graph, whose learner is given them flattened into one vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

__all__ = ["Flattening", "flattening"]


class Flattening(nn.Module):
    """A module of flattened observations, as one of their parts; its weights keep their names.

    Args:
        module: takes one vector for each observation.
        space: of one observation.
    """

    def __init__(self, module: nn.Module, space: gym.Space[Any]) -> None:
        super().__init__()
        self.module = module
        self._forward = flattening(module, space)

    def forward(self, *arrays: Tensor) -> Any:
        return self._forward(*arrays)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.module.state_dict(*args, **kwargs)


def flattening(function: Callable[..., Any], space: gym.Space[Any]) -> Callable[..., Any]:
    """A function of flattened observations, and of whatever comes after them, as one of the observations' parts."""
    count = len(parts_of(space))
    return lambda *arrays: function(flattened(arrays[:count], space), *arrays[count:])


def parts_of(space: gym.Space[Any]) -> Mapping[str, gym.Space[Any]]:
    """The spaces of an observation's parts by name."""
    return space.spaces if isinstance(space, gym.spaces.Dict) else {"input": space}


def flattened(inputs: tuple[Tensor, ...], space: gym.Space[Any]) -> Tensor:
    """(B, F) float32 as Gymnasium's ``flatten`` makes it: parts one after the other, things one-hot."""
    return torch.cat([_flat(x, part) for x, part in zip(inputs, parts_of(space).values(), strict=True)], 1)


def _flat(x: Tensor, space: gym.Space[Any]) -> Tensor:
    if isinstance(space, gym.spaces.Discrete):
        return F.one_hot(x - int(space.start), int(space.n)).to(torch.float32)
    if isinstance(space, gym.spaces.MultiDiscrete):
        values = (x - torch.from_numpy(space.start)).flatten(1).unbind(1)
        things = zip(values, space.nvec.ravel().tolist(), strict=True)
        return torch.cat([F.one_hot(value, n) for value, n in things], 1).to(torch.float32)
    return x.flatten(1).to(torch.float32)
