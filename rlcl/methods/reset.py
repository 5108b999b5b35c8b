"""Reinitialization of layers at each boundary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from attrs import define, field
from torch import nn

from rlcl.config import option
from rlcl.networks.mlp import fresh_weights
from rlcl.networks.task_ids import takes_task_ids
from rlcl.types import Experience, Host, Method

__all__ = ["Reset"]

WEIGHT_LAYERS = nn.Linear | nn.Conv2d
NORMS = nn.LayerNorm | nn.GroupNorm | nn.modules.batchnorm._BatchNorm


@runtime_checkable
class MultiNetworkModule(Protocol):
    """A module that consists of several networks, each with a separate head."""

    @property
    def side_by_side(self) -> tuple[nn.Module, ...]: ...


@define(kw_only=True, eq=False)
class Reset(Method):
    """Reinitialization of the last layers at each boundary, before training on the next experience.

    Normalization layers after the first reinitialized layer are reset as well. The optimizer's moments and step
    counts are reset for these layers; the setting ``boundary: {optimizer: reset}`` resets them for all layers.

    Args:
        layers: number of the last linear and convolutional layers: 1 is the head, ``all`` the whole network.

    Source: Nikishin et al. 2022, The primacy bias in deep reinforcement learning, section 5 (last layers);
    Ash & Adams 2020 reinitialize the whole network.
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
        networks = networks_of(host)
        modules = [module for network in networks for module in network.modules()]
        for module in modules:
            if any(True for _ in module.parameters(recurse=False)) and not isinstance(module, WEIGHT_LAYERS | NORMS):
                return f"it resets linear and convolutional layers, and the network has a {type(module).__name__}"
        if self.layers != "all" and any(map(takes_task_ids, modules)):
            return "the network has one head per task and no single last layer; set layers: all, or use another network"
        count = min(sum(isinstance(m, WEIGHT_LAYERS) for m in network.modules()) for network in networks)
        if self.layers != "all" and self.layers > count:
            return f"it resets {self.layers} layers, and the network has {count}; set layers: all"
        return None

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = host, rng

    def begin(self, experience: Experience, updates: int | None) -> None:
        if experience.index == 0:
            return
        optimizer = self._host.optimizers[self._host.primary]
        for layer in self._layers_to_reset():
            self._reset(layer)
            for parameter in layer.parameters():
                optimizer.state.pop(parameter, None)

    def _layers_to_reset(self) -> list[nn.Module]:
        """Return the layers of each network from the first reinitialized one to the last."""
        return [layer for network in networks_of(self._host) for layer in self._last_layers(network)]

    def _last_layers(self, network: nn.Module) -> list[nn.Module]:
        layers: list[nn.Module] = [m for m in network.modules() if isinstance(m, WEIGHT_LAYERS | NORMS)]
        indices = [index for index, layer in enumerate(layers) if isinstance(layer, WEIGHT_LAYERS)]
        if self.layers == "all" or not self.layers:
            return layers if self.layers else []
        return layers[indices[-self.layers] :]

    @torch.no_grad()
    def _reset(self, layer: nn.Module) -> None:
        if isinstance(layer, WEIGHT_LAYERS):
            fresh = fresh_weights(layer, torch.Generator().manual_seed(int(self._rng.integers(2**62))))
            for name, parameter in layer.named_parameters():
                parameter.copy_(fresh[name])
        else:
            assert isinstance(layer, NORMS)
            layer.reset_parameters()

    def end(self, experience: Experience) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]


def networks_of(host: Host) -> list[nn.Module]:
    """Return the networks of a host's primary module, for example an actor and a critic with separate heads."""
    module = host.modules[host.primary]
    return list(module.side_by_side) if isinstance(module, MultiNetworkModule) else [module]
