"""Context-dependent gating (XdG): a random subset of the hidden units for each task."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.networks.mlp import ACTIVATIONS, CRelu
from rlcl.networks.task_ids import called_networks, divides_batches, enable_task_ids, takes_task_ids
from rlcl.types import Experience, FollowedHost, Host, Method

__all__ = ["Gates", "Xdg"]

HIDDEN = tuple(ACTIVATIONS.values())


@define(eq=False)
class Gates:
    """Gates of the hidden units by task, sampled on first use.

    The gates of a task in a layer depend on the seed, the index of the layer and the task only. They do not
    depend on the order of the tasks.

    Args:
        share: share of a layer's units that is closed, rounded; at least one unit stays open.
        seed: of all gates.
        task_ids: (B,) of the forward pass in progress, None between passes.
    """

    share: float
    seed: int
    task_ids: Tensor | None = None
    _tables: dict[tuple[int, int], Tensor] = field(init=False, factory=dict)

    def of(self, layer: int, units: int, task_ids: Tensor) -> Tensor:
        """Return gates (B, U) float32: 0 for a unit that is closed for the row's task, else 1.

        Args:
            layer: index of the layer among the hidden layers.
            units: U, of the layer.
            task_ids: (B,) int64.
        """
        table = self._tables.get((layer, units))
        tasks = int(task_ids.max()) + 1
        if table is None or len(table) < tasks:
            rows = torch.stack([self._sample(layer, units, task) for task in range(tasks)])
            table = self._tables[layer, units] = rows.to(task_ids.device)
        return table.index_select(0, task_ids)

    def _sample(self, layer: int, units: int, task: int) -> Tensor:
        count = min(round(self.share * units), units - 1)
        closed = np.random.default_rng([self.seed, layer, task]).permutation(units)[:count]
        return torch.ones(units).index_fill(0, torch.from_numpy(closed), 0.0)


@define(kw_only=True, eq=False)
class Xdg(Method):
    """Gating of the hidden units by task: the activations of most units are multiplied by 0.

    The gates apply in training and in prediction, to each row by its task id. Closed units get no
    gradient, so that tasks train mostly different weights. The method does not protect the weights that tasks
    share; combine it with ``si`` or ``ewc`` for that. A unit of a convolution is a channel. Hidden units are
    those after an activation that is a module of the network (``mlp``, ``cnn``, ``multihead``,
    ``resnet18``). For ``crelu`` both outputs of a unit have the same gate. Of a policy, the network that acts is gated
    with its target network; ``ppo`` gates the critic too.

    Args:
        share: share of a layer's units that is closed for a task, rounded; at least one unit stays open.
            0 disables the method.

    Source: Masse, Grant & Freedman 2018, Alleviating catastrophic forgetting using context-dependent gating and
    synaptic stabilization; 80 % of the units in their permuted MNIST.
    """

    share: float = option(0.8, ge=0, lt=1)
    _gates: Gates | None = field(init=False, default=None)

    requires = frozenset({"native", "task_id_everywhere"})
    kinds = frozenset({"categorical", "multi_categorical", "gaussian", "values"})  # passed task ids
    phase = "record"
    reopens = True
    null: ClassVar[Mapping[str, Any] | None] = {"share": 0.0}

    def refuses(self, host: Host) -> str | None:
        modules = list(host.modules[host.primary].modules())
        if not any(isinstance(m, HIDDEN) for m in modules):
            return "it gates units after activations, and the network has none that is a module; use mlp, cnn, ..."
        if any(map(divides_batches, modules)):
            return "the network already has separate layers for each task; use mlp, cnn, multihead or resnet18"
        if any(m._compiled_call_impl is not None for m in modules):
            return "it gates units of layers, which compiled layers do not support; set learner.compile: false"
        return None

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        if self.share:
            self._gates = Gates(self.share, int(rng.integers(2**62)))
            followers = host.followers if isinstance(host, FollowedHost) else ()
            for network in chain.from_iterable(map(called_networks, (host.modules[host.primary], *followers))):
                _record_task_ids(network, self._gates)
                _gate_layers(network, self._gates)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {} if self._gates is None else {"seed": self._gates.seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self._gates is not None:
            self._gates.seed = state["seed"]
            self._gates._tables.clear()


def _record_task_ids(module: nn.Module, gates: Gates) -> None:
    """Enable task ids for a module, with or without task-specific heads, and store them in ``gates`` during a pass."""
    has_heads = takes_task_ids(module)

    # Closures instead of bound methods: a copy of the module (learner.ema) would copy the whole learner of a method.
    def before(layer: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if len(args) < 2:
            raise UnsupportedError(
                "learner.methods: xdg selects units by the task id, which this learner does not pass to its network; "
                "use classifier or regressor"
            )
        gates.task_ids = args[1]
        return args if has_heads else args[:1]

    def after(layer: nn.Module, args: Any, output: Any) -> None:
        gates.task_ids = None

    enable_task_ids(module)
    module.register_forward_pre_hook(before)
    module.register_forward_hook(after, always_call=True)


def _gate_layers(module: nn.Module, gates: Gates) -> None:
    layers = [layer for layer in module.modules() if isinstance(layer, HIDDEN)]
    for index, layer in enumerate(layers):
        layer.register_forward_hook(_gate_hook(index, gates))


def _gate_hook(index: int, gates: Gates) -> Any:
    def gate(layer: nn.Module, args: Any, output: Tensor) -> Tensor:
        if output.ndim not in (2, 4):
            raise UnsupportedError(
                "learner.methods: xdg gates units (B, units) and channels (B, channels, height, width), and a hidden "
                f"layer of this network has outputs of shape {tuple(output.shape)}; use mlp or cnn"
            )
        if gates.task_ids is None:  # a layer called outside a pass of the network
            return output
        copies = 2 if isinstance(layer, CRelu) else 1
        open_units = gates.of(index, int(output.shape[1]) // copies, gates.task_ids).repeat(1, copies)
        return output * open_units.to(output.dtype).view(*output.shape[:2], *[1] * (output.ndim - 2))

    return gate
