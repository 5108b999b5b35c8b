"""Replay of transitions that are selected over the whole stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.memories.class_balanced import BalancedMemory
from rlcl.methods.memories.memory import Memory
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.methods.parts.parameters import add_gradients_of, device_of, named_parameters
from rlcl.types import Experience, Host, Method, TransitionHost, Transitions

__all__ = ["SelectiveReplay"]


@define(kw_only=True, eq=False)
class SelectiveReplay(Method):
    """Adds the learner's own loss on transitions of a memory of the whole stream to the loss of each network.

    The learner's replay buffer keeps the newest transitions. The memory keeps a sample of all transitions: of the
    stream (``reservoir``), or of each experience (``per_experience``). If the replay buffer holds the whole stream
    (``boundary.memory: keep`` and a sufficient ``capacity`` of the learner), the learner itself replays all
    transitions; the method is for long streams. Replayed transitions have one step, whatever ``n_step`` is. Those
    before the first update are not stored.

    Args:
        ratio: replayed transitions per transition of the learner's minibatch; 0 disables the method.
        selection: ``reservoir``: a uniform sample of all transitions. ``per_experience``: a sample of each experience;
            samples have the same size, as far as the experiences have as many transitions.
        capacity: transitions in memory.

    Source: Isele & Cosgun 2018, Selective experience replay for lifelong learning: distribution matching is
    ``reservoir``, in addition to a replay buffer of the newest transitions.
    """

    ratio: float = option(1.0, ge=0)
    selection: Literal["reservoir", "per_experience"] = option("reservoir")
    capacity: int = option(10_000, ge=1)
    _host: TransitionHost = field(init=False, default=None)
    _rng: np.random.Generator = field(init=False, default=None)
    _memory: Memory = field(init=False, default=None)
    _inserted: Transitions | None = field(init=False, default=None)  # of the round that has been inserted last
    _experience: int = field(init=False, default=0)
    _actions: int = field(init=False, default=0)  # number K of discrete actions, once it is known

    phase = "add"
    reopens = True
    freezes_encoder = True
    null: ClassVar[Mapping[str, Any] | None] = {"ratio": 0.0}

    @property
    def requires(self) -> frozenset[str]:
        needed = {"transitions", "off_policy"}
        return frozenset(needed | {"boundaries"} if self.selection == "per_experience" else needed)

    @property
    def memory(self) -> Memory:
        return self._memory

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host, self._rng = cast(TransitionHost, host), rng
        kind = BalancedMemory if self.selection == "per_experience" else ReservoirMemory
        self._memory = kind(self.capacity, rng)
        for key, optimizer in host.optimizers.items() if self.ratio else ():

            def replay(optimizer: Optimizer, args: Any, kwargs: Any, key: str = key) -> None:
                self._replay(key)

            optimizer.register_step_pre_hook(replay)

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._experience = experience.index

    def end(self, experience: Experience) -> None:
        pass

    def _replay(self, key: str) -> None:
        host, batch = self._host, self._host.batch
        assert batch is not None
        self._insert_collected()
        if not len(self._memory):
            return
        columns = self._memory.sample(max(round(self.ratio * len(batch.inputs)), 1))
        fields = {name: column[None] for name, column in columns.items() if name in Transitions._fields}
        loss = host.transition_loss(key, Transitions(**fields), self._rng)
        add_gradients_of(self.ratio * loss, named_parameters(host, key))

    def _insert_collected(self) -> None:
        """Insert the transitions of a round before its first update."""
        collected = self._host.collected
        if collected is None or collected is self._inserted:
            return
        self._inserted = collected
        columns = {name: None if c is None else c.flatten(0, 1) for name, c in collected._asdict().items()}
        if collected.next_masks is None and not collected.actions.is_floating_point():
            columns["next_masks"] = self._no_masks(collected)  # another experience may have masks
        label: Tensor | None = None
        if self.selection == "per_experience":
            label = torch.full((collected.rewards.numel(),), self._experience, device=collected.rewards.device)
        self._memory.insert(**columns, targets=label)

    def _no_masks(self, collected: Transitions) -> Tensor:
        """Return masks (T * B, K) that allow all of K actions."""
        if not self._actions:
            host, ids = self._host, collected.task_ids
            with evaluation_mode(host.modules[host.primary]):
                outputs = host.outputs(collected.observations[0], None if ids is None else ids[0])
            self._actions = outputs.shape[1]
        return torch.ones(collected.rewards.numel(), self._actions, dtype=torch.bool, device=collected.rewards.device)

    def forget(self) -> None:
        self._memory.clear()

    def state_dict(self) -> dict[str, Any]:
        return {
            "memory": self._memory.state_dict(),
            "rng": self._rng.bit_generator.state,
            "experience": self._experience,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._memory.load_state_dict(state["memory"], device_of(self._host))
        self._rng.bit_generator.state = state["rng"]
        self._experience = state["experience"]
