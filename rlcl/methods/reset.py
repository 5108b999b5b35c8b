"""Resets: layers are drawn anew at each boundary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from attrs import define, field
from torch import nn

from rlcl.config import option
from rlcl.networks.mlp import redrawn
from rlcl.networks.task_ids import takes_task_ids
from rlcl.types import Experience, Host, Method

__all__ = ["Reset"]

DRAWN = nn.Linear | nn.Conv2d
NORMS = nn.LayerNorm | nn.GroupNorm | nn.modules.batchnorm._BatchNorm


@runtime_checkable
class SideBySide(Protocol):
    """A module of several networks, each with a head of its own."""

    @property
    def side_by_side(self) -> tuple[nn.Module, ...]: ...


@define(kw_only=True, eq=False)
class Reset(Method):
    """Draws the last layers anew at each boundary, before the next experience is trained on.

    Norms that stand behind the first layer that is drawn anew start anew as well. The optimizer
    forgets its moments, and its step count, of what is drawn anew; of everything with ``boundary: {optimizer: reset}``.

    Args:
        layers: how many of the last linear and convolutional layers: 1 is the head, ``all`` the whole network.

    Source: Nikishin et al. 2022, The primacy bias in deep reinforcement learning, section 5 (last layers);
    Ash & Adams 2020 train all anew.
    """

    layers: int | Literal["all"] = option(1, ge=0)
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)

    requires = frozenset({"native", "boundaries"})
    phase = "edit"
    reopens = True
    null: ClassVar[Mapping[str, Any] | None] = {"layers": 0}

    def refuses(self, host: Host) -> str | None:
        if self.layers == 0:
            return None
        networks = side_by_side(host)
        modules = [module for network in networks for module in network.modules()]
        for module in modules:
            if any(True for _ in module.parameters(recurse=False)) and not isinstance(module, DRAWN | NORMS):
                return f"it draws linear layers and convolutions anew, and the network has a {type(module).__name__}"
        if self.layers != "all" and any(map(takes_task_ids, modules)):
            return "the network has a head a task, none of which is the last; set layers: all, or use another network"
        count = min(sum(isinstance(m, DRAWN) for m in network.modules()) for network in networks)
        if self.layers != "all" and self.layers > count:
            return f"it draws {self.layers} layers anew, and the network has {count}; set layers: all"
        return None

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = host, rng

    def begin(self, experience: Experience, updates: int | None) -> None:
        if experience.index == 0:
            return
        optimizer = self._host.optimizers[self._host.primary]
        for layer in self._chosen():
            self._draw(layer)
            for parameter in layer.parameters():
                optimizer.state.pop(parameter, None)

    def _chosen(self) -> list[nn.Module]:
        """Layers that start anew: of each network from the first that is drawn, to the end."""
        return [layer for network in side_by_side(self._host) for layer in self._last(network)]

    def _last(self, network: nn.Module) -> list[nn.Module]:
        layers: list[nn.Module] = [m for m in network.modules() if isinstance(m, DRAWN | NORMS)]
        places = [place for place, layer in enumerate(layers) if isinstance(layer, DRAWN)]
        if self.layers == "all" or not self.layers:
            return layers if self.layers else []
        return layers[places[-self.layers] :]

    @torch.no_grad()
    def _draw(self, layer: nn.Module) -> None:
        if isinstance(layer, DRAWN):
            drawn = redrawn(layer, torch.Generator().manual_seed(int(self._rng.integers(2**62))))
            for name, parameter in layer.named_parameters():
                parameter.copy_(drawn[name])
        else:
            assert isinstance(layer, NORMS)
            layer.reset_parameters()

    def end(self, experience: Experience) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]


def side_by_side(host: Host) -> list[nn.Module]:
    """The networks that a host's primary module is made of: an actor and a critic have a head each."""
    module = host.modules[host.primary]
    return list(module.side_by_side) if isinstance(module, SideBySide) else [module]
