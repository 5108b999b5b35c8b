"""Learning without forgetting (LwF)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.methods.parts.outputs import OutputsModule, WeightSubstitution
from rlcl.methods.parts.parameters import add_gradients_of, device_of, named_parameters
from rlcl.networks.multihead import MultiheadModule
from rlcl.networks.task_ids import takes_task_ids
from rlcl.types import IMPOSSIBLE, Experience, Host, Method

__all__ = ["Lwf", "soft_cross_entropy"]


class HeadsModule(OutputsModule):
    """Module that returns the outputs of a host for several heads."""

    def forward(self, x: Tensor, tasks: list[int]) -> Tensor:  # type: ignore[override]
        """Map inputs (B, *encoded) to outputs (B, H, K) of the tasks' heads, or (B, 1, K) if all heads share them."""
        if not takes_task_ids(self.module):
            return self.host.outputs(x, None)[:, None]
        if isinstance(self.module, MultiheadModule):
            return self.module.of_tasks(x, tasks)
        ids = [torch.full((len(x),), task, device=x.device) for task in tasks]
        return torch.stack([self.host.outputs(x, task) for task in ids], 1)


@define(kw_only=True, eq=False)
class Lwf(Method):
    """Adds a loss term: ``strength`` times the distance to the outputs of the network at the last boundary.

    No past inputs are stored. The network of the last boundary is a frozen teacher on the current minibatch.
    For logits, the distance is the cross-entropy of the two softened distributions, over the classes
    of each head of past experiences. Each task id has one head; if task ids are hidden there is a single head.
    For other outputs, the distance is the mean squared distance. If the host provides the forward pass of its
    loss and there is a single head, that pass is the student's, and the teacher receives the same inputs. Otherwise
    the student has a second forward pass, on the inputs without augmentation.

    There is no factor ``temperature^2`` (Hinton et al. 2015 recommend one); include it in ``strength``.

    Args:
        strength: weight of the distance to the teacher's outputs; 0 disables the method.
        temperature: divisor of the logits.
        units: classes of a head that the distance covers: those ``seen`` up to the last boundary, or ``all`` possible
            classes.
        weighting: ``heads`` sums the distances of the heads, ``mean`` averages them, ``experiences``
            averages them and multiplies by the number of past experiences.

    Source: Li & Hoiem 2016, Learning without forgetting, eqs. 2 and 3. Avalanche's definition equals this one
    with the default settings. The definition of van de Ven et al. 2022 has ``units: all``, and
    ``weighting: experiences`` in their domain-incremental protocol.
    """

    strength: float = option(1.0, ge=0)
    temperature: float = option(2.0, gt=0)
    units: Literal["seen", "all"] = option("seen")
    weighting: Literal["heads", "mean", "experiences"] = option("heads")
    _host: Host = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _outputs: HeadsModule = field(init=False, default=None)
    _teacher: dict[str, Tensor] = field(init=False, factory=dict)
    _teacher_weights: WeightSubstitution = field(init=False, default=None)
    _heads: dict[int, Tensor] = field(init=False, factory=dict)
    _experiences: int = field(init=False, default=0)
    _in_pass: bool = field(init=False, default=False)
    _penalty: Tensor | None = field(init=False, default=None)

    phase = "add"
    null: ClassVar[Mapping[str, Any] | None] = {"strength": 0.0}
    kinds = frozenset({"categorical", "values", "reconstruction"})

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"batch", "boundaries", "targets"})  # of whole experiences, also for ``units: all``

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = host, rng
        self._outputs = HeadsModule(host)
        heads = "task_id" in host.provides or takes_task_ids(self._outputs.module)
        self._in_pass = "pass" in host.provides and not heads
        if not self._in_pass:
            host.optimizers[host.primary].register_step_pre_hook(self._add)

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._substitute_teacher()  # a head that grew is another module

    def _substitute_teacher(self) -> None:
        self._teacher_weights = WeightSubstitution(self._outputs, self._teacher)

    def end(self, experience: Experience) -> None:
        if not self.strength:
            return
        module = self._outputs.module
        state = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
        self._teacher = {f"module.{name}": tensor.detach().clone() for name, tensor in state}
        self._experiences += 1
        for task, classes in self._classes(experience).items():
            previous = self._heads.get(task)
            self._heads[task] = classes if previous is None or previous.shape != classes.shape else previous | classes

    def _classes(self, experience: Experience) -> dict[int, Tensor]:
        """Return a mask (K,) of the outputs that an experience uses, by task id (0 if task ids are hidden)."""
        host, masks = self._host, {}
        x, _, ids = host.sample(1, self._rng)[:3]
        for task, labels in _labels_by_task(experience).items():
            with evaluation_mode(self._outputs.module):
                outputs = host.outputs(x, None if ids is None else torch.full_like(ids, task))[0]
            if host.kind != "categorical":
                masks[task] = torch.ones_like(outputs, dtype=torch.bool)
            elif self.units == "all":
                masks[task] = outputs > IMPOSSIBLE / 2
            else:
                mask = torch.zeros_like(outputs, dtype=torch.bool)
                masks[task] = mask.index_fill(0, labels.to(mask.device), True)
        return masks

    def penalty(self, x: Tensor, outputs: Tensor) -> Tensor | None:
        """See :class:`rlcl.types.PenalizingMethod`."""
        if not self._in_pass or not self._teacher:
            return None
        penalty = self.strength * self._distance(outputs.float()[:, None], self._teacher_outputs(x).float())
        self._penalty = penalty.detach()
        return penalty

    def _add(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        batch, module = self._host.batch, self._outputs.module
        if not self._teacher or batch is None:
            return
        teacher = self._teacher_outputs(batch.inputs)
        # Use copies of the running statistics, which the learner's pass has already updated with these inputs.
        statistics = {f"module.{name}": buffer.clone() for name, buffer in module.named_buffers()}
        with WeightSubstitution(self._outputs, statistics).applied():
            penalty = self.strength * self._distance(self._head_outputs(batch.inputs), teacher)
        add_gradients_of(penalty, named_parameters(self._host, self._host.primary))
        self._penalty = penalty.detach()

    def _teacher_outputs(self, x: Tensor) -> Tensor:
        """Compute the teacher's outputs (B, H, K)."""
        with evaluation_mode(self._outputs.module), self._teacher_weights.applied():
            return self._head_outputs(x)

    def _head_outputs(self, x: Tensor) -> Tensor:
        outputs: Tensor = self._outputs(x, list(self._heads))
        return outputs

    def _distance(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        if self._host.kind == "categorical":
            heads = torch.stack(list(self._heads.values()))
            distances = soft_cross_entropy(outputs, teacher, heads, self.temperature)
        else:
            distances = (outputs - teacher).square().mean((0, 2))
        if self.weighting == "heads":
            return distances.sum()
        return distances.mean() * (self._experiences if self.weighting == "experiences" else 1)

    def quantities(self) -> Mapping[str, float]:
        """See :class:`rlcl.types.Method`; the penalty is that of the last minibatch."""
        return {"penalty": 0.0 if self._penalty is None else float(self._penalty)}

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
        self._substitute_teacher()


def _labels_by_task(experience: Experience) -> dict[int, Tensor]:
    """Return the distinct labels of an experience by task id (0 if task ids are hidden), without reading its inputs."""
    labels_by_task: dict[int, set[int]] = {}
    for part in experience.parts:
        source = part.arrays
        targets = source.targets if source.targets is not None and source.targets.dim() == 1 else None
        tasks = torch.full((len(source),), part.task_id or 0) if source.task_ids is None else source.task_ids
        for task in set(tasks.tolist()):
            labels = set() if targets is None else set(targets[tasks == task].tolist())
            labels_by_task.setdefault(task, set()).update(labels)
    return {task: torch.tensor(sorted(labels), dtype=torch.int64) for task, labels in sorted(labels_by_task.items())}


def soft_cross_entropy(outputs: Tensor, teacher: Tensor, heads: Tensor, temperature: float) -> Tensor:
    """Compute the mean cross-entropy, in nats, of the softened distributions over each head's classes.

    Args:
        outputs: the student's logits (B, H, K), or (B, 1, K) if all heads share them.
        teacher: the teacher's logits, of the same shape.
        heads: (H, K) bool, the outputs that belong to each head.
        temperature: divisor of the logits.

    Returns:
        (H,).

    Source: Li & Hoiem 2016, eqs. 2 and 3.
    """
    log_p = (outputs / temperature).masked_fill(~heads, IMPOSSIBLE).log_softmax(2)
    q = (teacher / temperature).masked_fill(~heads, IMPOSSIBLE).softmax(2)
    return -(q * log_p).sum(2).mean(0)
