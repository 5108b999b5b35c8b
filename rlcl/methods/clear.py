"""Continual learning with experience and replay (CLEAR)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
import torch
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.memories.examples import check_size
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.methods.parts.divergence import choices_of, kl_divergence
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.methods.parts.parameters import add_gradients_of, device_of, named_parameters
from rlcl.methods.parts.vtrace import v_trace
from rlcl.types import IMPOSSIBLE, BehaviourHost, Experience, Host, Method, Transitions

__all__ = ["Clear"]

DEFAULT_CAPACITY = 10_000


@define(kw_only=True, eq=False)
class Clear(Method):
    """Adds to each update a loss on replayed sequences: an actor-critic loss with V-trace, and behavioral cloning.

    Collected transitions are cut into sequences, of which a reservoir keeps a uniform sample over the whole stream,
    with the outputs and values at the time of collection. Each update replays sequences of all that has been seen,
    those of the current experience included. The method therefore needs neither boundaries nor task ids.

    The learner's loss on new transitions is unchanged. To its gradient is added ``ratio`` times the gradient of the
    mean over replayed transitions of

    ``-A log pi + value_weight (V - v)^2 - entropy_weight H(pi)
    + policy_cloning KL(mu || pi) + value_cloning (V - V_mu)^2``

    with the current policy pi and its values V, the stored policy mu and its values V_mu, and the advantages A
    (multiplied by the importance weight) and value targets v of V-trace.

    Args:
        ratio: replayed transitions per transition of the learner's minibatch, at least one sequence; 0 disables the
            method. 1 is the paper's half of new and half of replayed transitions.
        capacity: transitions in memory, in total. Defaults to 10,000 if ``capacity_bytes`` is not set. The paper's
            memory holds half of all env steps.
        capacity_bytes: maximum size of the stored sequences in bytes.
        length: transitions in a sequence; that of a rollout if it is shorter. Transitions of a rollout that fill no
            whole sequence are not stored.
        policy_cloning: weight of the divergence KL(stored policy || current policy).
        value_cloning: weight of the squared distance to the stored values.
        value_weight: weight of the squared distance between values and V-trace targets.
        entropy_weight: weight of the entropy, which is added to the objective.

    Source: Rolnick et al. 2019, Experience replay for continual learning, section 3 and eqs. 1 and 2, with its weights
    of cloning. V-trace: Espeholt et al. 2018, IMPALA; sequences of 20 steps and the weight of the entropy are those
    of its experiments on Atari.
    """

    ratio: float = option(1.0, ge=0)
    capacity: int | None = option(None, ge=1)
    capacity_bytes: int | None = option(None, ge=1)
    length: int = option(20, ge=1)
    policy_cloning: float = option(0.01, ge=0)
    value_cloning: float = option(0.005, ge=0)
    value_weight: float = option(0.5, ge=0)
    entropy_weight: float = option(0.01)
    _host: BehaviourHost = field(init=False, default=None)
    _memory: ReservoirMemory = field(init=False, default=None)
    _inserted: Transitions | None = field(init=False, default=None)  # of the round that has been inserted last

    requires = frozenset({"log_probs", "transitions"})
    phase = "add"
    reopens = True
    null: ClassVar[Mapping[str, Any] | None] = {"ratio": 0.0}
    freezes_encoder = True

    def __attrs_post_init__(self) -> None:
        if self.capacity is not None:
            check_size(capacity=self.capacity, capacity_bytes=self.capacity_bytes)

    @property
    def memory(self) -> ReservoirMemory:
        return self._memory

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = cast(BehaviourHost, host)
        self._memory = ReservoirMemory(None, rng, capacity_bytes=self.capacity_bytes)
        if self.ratio:
            host.optimizers[host.primary].register_step_pre_hook(self._replay)

    def begin(self, experience: Experience, updates: int | None) -> None:
        pass

    def end(self, experience: Experience) -> None:
        pass

    def _replay(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        host, batch = self._host, self._host.batch
        assert batch is not None
        self._insert_collected()
        if not len(self._memory):
            return
        stored = self._memory.sample(max(round(self.ratio * len(batch.inputs) / self._length), 1))
        loss = self._loss({name: column.transpose(0, 1) for name, column in stored.items()})
        add_gradients_of(self.ratio * loss, named_parameters(host, host.primary))

    @property
    def _length(self) -> int:
        return int(next(iter(self._memory.contents().values())).shape[1])

    def _insert_collected(self) -> None:
        """Insert the transitions of a round before its first update, with the outputs of the policy that took them."""
        collected = self._host.collected
        if collected is None or collected is self._inserted:
            return
        host, self._inserted = self._host, collected
        with evaluation_mode(host.modules[host.primary]):
            behaviour = host.evaluate_actions(collected)
        columns = {**collected._asdict(), "outputs": behaviour.outputs, "values": behaviour.values}
        if collected.masks is None and host.kind != "gaussian":  # another experience may have masks
            columns["masks"] = torch.ones_like(behaviour.outputs, dtype=torch.bool)
        length = min(self.length, len(collected.rewards))
        if self._memory.capacity is None and self.capacity_bytes is None:
            self._memory.capacity = max((self.capacity or DEFAULT_CAPACITY) // length, 1)
        self._memory.insert(**{name: _sequences(column, length) for name, column in columns.items()})

    def _loss(self, stored: Mapping[str, Tensor]) -> Tensor:
        host = self._host
        columns = {name: stored[name] for name in Transitions._fields if name in stored}
        transitions = Transitions(**columns)
        current = host.evaluate_actions(transitions)
        assert transitions.log_probs is not None
        values = current.values.detach()
        targets = v_trace(
            transitions.rewards,
            values,
            self._next_values(transitions, values),
            transitions.terminated,
            transitions.ended,
            current.log_probs.detach() - transitions.log_probs,
            host.gamma,
        )
        divergence = kl_divergence(
            _allowed(stored["outputs"], transitions.masks).flatten(0, 1),
            _allowed(current.outputs, transitions.masks).flatten(0, 1),
            host.kind,
            choices_of(host),
        )
        loss: Tensor = (
            -(targets.advantages * current.log_probs).mean()
            + self.value_weight * (current.values - targets.values).square().mean()
            - self.entropy_weight * current.entropies.mean()
            + self.policy_cloning * divergence.mean()
            + self.value_cloning * (current.values - stored["values"]).square().mean()
        )
        return loss

    def _next_values(self, transitions: Transitions, values: Tensor) -> Tensor:
        """Return the values (T, B) of the next observations; only those that no later step observes are computed."""
        following = torch.cat((values[1:], torch.zeros_like(values[:1])))
        last = transitions.ended.clone()
        last[-1] = True
        ids = transitions.task_ids
        following[last] = self._host.values(transitions.next_observations[last], None if ids is None else ids[last])
        return following

    def forget(self) -> None:
        self._memory.clear()

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self._memory.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._memory.load_state_dict(state["memory"], device_of(self._host))


def _sequences(column: Tensor | None, length: int) -> Tensor | None:
    """Cut a column (T, B, ...) into the latest whole sequences (M, length, ...)."""
    if column is None:
        return None
    count = len(column) // length
    latest = column[len(column) - count * length :]
    by_sequence = latest.view(count, length, *column.shape[1:]).transpose(1, 2)
    return by_sequence.reshape(count * column.shape[1], length, *column.shape[2:])


def _allowed(outputs: Tensor, masks: Tensor | None) -> Tensor:
    return outputs if masks is None else outputs.masked_fill(~masks, IMPOSSIBLE)
