"""Learning without forgetting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.parts.modes import evaluating
from rlcl.methods.parts.outputs import OutputsModule, Weights
from rlcl.methods.parts.parameters import add_gradients_of, device_of, named_parameters
from rlcl.networks.multihead import MultiheadModule
from rlcl.networks.task_ids import takes_task_ids
from rlcl.types import IMPOSSIBLE, Experience, Host, Method

__all__ = ["Lwf", "soft_cross_entropy"]


class HeadsModule(OutputsModule):
    """A host's outputs by head."""

    def forward(self, x: Tensor, tasks: list[int]) -> Tensor:  # type: ignore[override]
        """(B, *encoded) to (B, H, K) outputs of every task's head, or (B, 1, K) that all heads are read from."""
        if not takes_task_ids(self.module):
            return self.host.outputs(x, None)[:, None]
        if isinstance(self.module, MultiheadModule):
            return self.module.of_tasks(x, tasks)
        ids = [torch.full((len(x),), task, device=x.device) for task in tasks]
        return torch.stack([self.host.outputs(x, task) for task in ids], 1)


@define(kw_only=True, eq=False)
class Lwf(Method):
    """Adds ``strength`` times the distance of the outputs to the last boundary's network's, on the minibatch's inputs.

    No old input is kept: the network of the last boundary is a frozen teacher of what is learned now.
    The distance of logits is the cross-entropy of the two softened distributions, over the classes
    of each head that was there. A head is what one task id chooses; where ids are hidden there is one.
    Other outputs are compared by the mean squared distance. Where the host can show the pass of its
    loss and there is one head, that pass is the student's, and the teacher sees what it saw. Elsewhere
    the student's pass is a second one, on the inputs as they were before any augmentation.

    There is no factor ``temperature^2`` (Hinton et al. 2015 recommend one): put it into ``strength``.

    Args:
        strength: of the distance to the teacher's outputs; 0 equals no method.
        temperature: that logits are divided by.
        units: over which of a head's classes: those ``seen`` by the last boundary, or ``all`` that are possible.
        weighting: ``heads`` sums the distances of the heads, ``mean`` averages them, ``experiences``
            averages them and multiplies by the number of past experiences.

    Source: Li & Hoiem 2016, Learning without forgetting, eqs. 2 and 3. Avalanche's definition is this one
    at the defaults; that of van de Ven et al. 2022 has ``units: all``, and ``weighting: experiences``
    in their domain-incremental protocol.
    """

    strength: float = option(1.0, ge=0)
    temperature: float = option(2.0, gt=0)
    units: Literal["seen", "all"] = option("seen")
    weighting: Literal["heads", "mean", "experiences"] = option("heads")
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _outputs: HeadsModule = field(init=False, default=None)
    _teacher: dict[str, Tensor] = field(init=False, factory=dict)
    _frozen: Weights = field(init=False, default=None)
    _heads: dict[int, Tensor] = field(init=False, factory=dict)
    _experiences: int = field(init=False, default=0)
    _in_pass: bool = field(init=False, default=False)

    phase = "add"
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}
    kinds = frozenset({"categorical", "values", "reconstruction"})

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"batch", "boundaries"} | ({"targets"} if self.units == "seen" else set()))

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = host, rng
        self._outputs = HeadsModule(host)
        heads = "task_id" in host.provides or takes_task_ids(self._outputs.module)
        self._in_pass = "pass" in host.provides and not heads
        if not self._in_pass:
            host.optimizers[host.primary].register_step_pre_hook(self._add)

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._frozen = Weights(self._outputs, self._teacher)  # anew, for a growing head is another module

    def end(self, experience: Experience) -> None:
        if not self.strength:
            return
        module = self._outputs.module
        state = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
        self._teacher = {f"module.{name}": tensor.detach().clone() for name, tensor in state}
        self._experiences += 1
        for task, classes in self._classes(experience).items():
            old = self._heads.get(task)
            self._heads[task] = classes if old is None or old.shape != classes.shape else old | classes

    def _classes(self, experience: Experience) -> dict[int, Tensor]:
        """By task id (0 where hidden), which outputs (K,) an experience has, or has seen."""
        host, found = self._host, {}
        x, _, ids = host.sample(1, self._rng)[:3]
        for task, labels in _labels_by_task(experience).items():
            with evaluating(self._outputs.module):
                outputs = host.outputs(x, None if ids is None else torch.full_like(ids, task))[0]
            if host.kind != "categorical":
                found[task] = torch.ones_like(outputs, dtype=torch.bool)
            elif self.units == "all":
                found[task] = outputs > IMPOSSIBLE / 2
            else:
                none = torch.zeros_like(outputs, dtype=torch.bool)
                found[task] = none.index_fill(0, labels.to(none.device), True)
        return found

    def penalty(self, x: Tensor, outputs: Tensor) -> Tensor | None:
        """See :class:`rlcl.types.PenalizingMethod`."""
        if not self._in_pass or not self._teacher:
            return None
        return self.strength * self._distance(outputs.float()[:, None], self._taught(x).float())

    def _add(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        batch, module = self._host.batch, self._outputs.module
        if not self._teacher or batch is None:
            return
        before = self._taught(batch.inputs)
        # On copies of its running statistics, for they have seen these inputs once already.
        statistics = {f"module.{name}": buffer.clone() for name, buffer in module.named_buffers()}
        with Weights(self._outputs, statistics).instead():
            distance = self._distance(self._of_heads(batch.inputs), before)
        add_gradients_of(self.strength * distance, named_parameters(self._host, self._host.primary))

    def _taught(self, x: Tensor) -> Tensor:
        """(B, H, K) the teacher's outputs."""
        with evaluating(self._outputs.module), self._frozen.instead():
            return self._of_heads(x)

    def _of_heads(self, x: Tensor) -> Tensor:
        outputs: Tensor = self._outputs(x, list(self._heads))
        return outputs

    def _distance(self, now: Tensor, before: Tensor) -> Tensor:
        if self._host.kind == "categorical":
            heads = torch.stack(list(self._heads.values()))
            distances = soft_cross_entropy(now, before, heads, self.temperature)
        else:
            distances = (now - before).square().mean((0, 2))
        if self.weighting == "heads":
            return distances.sum()
        return distances.mean() * (self._experiences if self.weighting == "experiences" else 1)

    def state_dict(self) -> dict[str, Any]:
        return {
            "rng": self._rng.bit_generator.state,
            "teacher": dict(self._teacher),
            "heads": dict(self._heads),
            "experiences": self._experiences,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        device = device_of(self._host)
        self._rng.bit_generator.state = state["rng"]
        self._teacher = {name: tensor.to(device) for name, tensor in state["teacher"].items()}
        self._heads = {task: classes.to(device) for task, classes in state["heads"].items()}
        self._experiences = state["experiences"]
        self._frozen = Weights(self._outputs, self._teacher)


def _labels_by_task(experience: Experience) -> dict[int, Tensor]:
    """By task id (0 where hidden), the distinct labels of an experience; nothing of its inputs is read."""
    found: dict[int, set[int]] = {}
    for part in experience.parts:
        source = part.arrays
        targets = source.targets if source.targets is not None and source.targets.dim() == 1 else None
        tasks = torch.full((len(source),), part.task_id or 0) if source.task_ids is None else source.task_ids
        for task in set(tasks.tolist()):
            labels = set() if targets is None else set(targets[tasks == task].tolist())
            found.setdefault(task, set()).update(labels)
    return {task: torch.tensor(sorted(labels), dtype=torch.int64) for task, labels in sorted(found.items())}


def soft_cross_entropy(now: Tensor, before: Tensor, heads: Tensor, temperature: float) -> Tensor:
    """(H,) mean cross-entropies, in nats, of the softened distributions over each head's classes.

    Args:
        now: logits (B, H, K), or (B, 1, K) that all heads are read from.
        before: the teacher's, of the same shape.
        heads: (H, K), which outputs are a head's.
        temperature: that logits are divided by.

    Source: Li & Hoiem 2016, eqs. 2 and 3.
    """
    log_p = (now / temperature).masked_fill(~heads, IMPOSSIBLE).log_softmax(2)
    q = (before / temperature).masked_fill(~heads, IMPOSSIBLE).softmax(2)
    return -(q * log_p).sum(2).mean(0)
