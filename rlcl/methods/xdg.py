"""Context-dependent gating: each task uses hidden units of its own choice, drawn once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.networks.mlp import ACTIVATIONS, CRelu
from rlcl.networks.task_ids import divides_batches, take_task_ids, takes_task_ids
from rlcl.types import Experience, Host, Method

__all__ = ["Gates", "Xdg"]

HIDDEN = tuple(ACTIVATIONS.values())


@define(eq=False)
class Gates:
    """Which hidden units are open for which task, drawn as they are asked for.

    A task's gates in a layer follow from the seed, the layer's place and the task alone: in whatever
    order tasks come, they are the same.

    Args:
        share: of a layer's units that is closed, rounded; one at least stays open.
        seed: of all of them.
        task_ids: (B,) of the pass in progress, None between passes.
    """

    share: float
    seed: int
    task_ids: Tensor | None = None
    _drawn: dict[tuple[int, int], Tensor] = field(init=False, factory=dict)

    def of(self, place: int, units: int, task_ids: Tensor) -> Tensor:
        """(B, U) float32, 0 where a unit is closed for the row's task and else 1.

        Args:
            place: of the layer among the hidden layers.
            units: U, of the layer.
            task_ids: (B,) int64.
        """
        table = self._drawn.get((place, units))
        tasks = int(task_ids.max()) + 1
        if table is None or len(table) < tasks:
            rows = torch.stack([self._row(place, units, task) for task in range(tasks)])
            table = self._drawn[place, units] = rows.to(task_ids.device)
        return table.index_select(0, task_ids)

    def _row(self, place: int, units: int, task: int) -> Tensor:
        closed = min(round(self.share * units), units - 1)
        chosen = np.random.default_rng([self.seed, place, task]).permutation(units)[:closed]
        return torch.ones(units).index_fill(0, torch.from_numpy(chosen), 0.0)


@define(kw_only=True, eq=False)
class Xdg(Method):
    """Multiplies the activations of most hidden units by 0, of other units for each task.

    It holds while training and while predicting, row by row, as each row's task id says. Closed units get no
    gradient, so that tasks change different weights; it says nothing of how those that they share are
    kept, which is left to ``si`` or ``ewc`` beside it. A unit of a convolution is a channel. Hidden are
    the units behind an activation that is a module of the network (``mlp``, ``cnn``, ``multihead``,
    ``resnet18``); a ``crelu`` opens or closes both of its outputs of a unit.

    Args:
        share: of a layer's units that is closed for a task, rounded; one at least stays open. 0 equals no method.

    Source: Masse, Grant & Freedman 2018, Alleviating catastrophic forgetting using context-dependent gating and
    synaptic stabilization; 80 % of the units in their permuted MNIST.
    """

    share: float = option(0.8, ge=0, lt=1)
    _gates: Gates | None = field(init=False, default=None)

    requires = frozenset({"native", "task_id_everywhere"})
    kinds = frozenset({"categorical", "values"})  # learners that show their networks task ids
    phase = "record"
    reopens = True
    null: ClassVar[Mapping[str, Any] | None] = {"share": 0.0}

    def refuses(self, host: Host) -> str | None:
        modules = list(host.modules[host.primary].modules())
        if not any(isinstance(m, HIDDEN) for m in modules):
            return "it closes units behind activations, and the network has none that is a module; use mlp, cnn, ..."
        if any(map(divides_batches, modules)):
            return "the network gives each task layers of its own already; use mlp, cnn, multihead or resnet18"
        if any(m._compiled_call_impl is not None for m in modules):
            return "it closes units of layers, which compiled ones do not allow; set learner.compile: false"
        return None

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        if self.share:
            self._gates = Gates(self.share, int(rng.integers(2**62)))
            _tell_tasks(host.modules[host.primary], self._gates)
            _close_units(host.modules[host.primary], self._gates)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {} if self._gates is None else {"seed": self._gates.seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self._gates is not None:
            self._gates.seed = state["seed"]
            self._gates._drawn.clear()


def _tell_tasks(module: nn.Module, gates: Gates) -> None:
    """The network is called with task ids from now on, even where it has no heads to choose by them."""
    has_heads = takes_task_ids(module)

    # Closures, not bound methods: copying the module (learner.ema) would copy a method's whole learner.
    def before(layer: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if len(args) < 2:
            raise UnsupportedError(
                "learner.methods: xdg chooses units by the task id, which this learner does not show its network; "
                "use classifier or regressor"
            )
        gates.task_ids = args[1]
        return args if has_heads else args[:1]

    def after(layer: nn.Module, args: Any, output: Any) -> None:
        gates.task_ids = None

    take_task_ids(module)
    module.register_forward_pre_hook(before)
    module.register_forward_hook(after, always_call=True)


def _close_units(module: nn.Module, gates: Gates) -> None:
    places = [layer for layer in module.modules() if isinstance(layer, HIDDEN)]
    for place, layer in enumerate(places):
        layer.register_forward_hook(_closing(place, gates))


def _closing(place: int, gates: Gates) -> Any:
    def close(layer: nn.Module, args: Any, output: Tensor) -> Tensor:
        if output.ndim not in (2, 4):
            raise UnsupportedError(
                "learner.methods: xdg closes units (B, units) and channels (B, channels, height, width), and a hidden "
                f"layer of this network has outputs of shape {tuple(output.shape)}; use mlp or cnn"
            )
        if gates.task_ids is None:  # a layer called by itself
            return output
        copies = 2 if isinstance(layer, CRelu) else 1
        open_units = gates.of(place, int(output.shape[1]) // copies, gates.task_ids).repeat(1, copies)
        return output * open_units.to(output.dtype).view(*output.shape[:2], *[1] * (output.ndim - 2))

    return close
