"""Batched seeds: learners with the same config and different seeds, whose updates are one computation.

:data:`BATCHED` lists the learners that have a batched update. The learners themselves do not depend on this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from attrs import define, field
from torch import Tensor

from rlcl.errors import DivergenceError, UnsupportedError
from rlcl.learners.fast.backprop import steps_of
from rlcl.learners.fast.batched_dqn import BatchedDqn
from rlcl.learners.fast.batched_environments import BatchedCollector
from rlcl.learners.fast.batched_ppo import BatchedPpo
from rlcl.learners.fast.batched_weights import stack_trees
from rlcl.learners.optimizers import Adam, AdamW, RmsProp, Sgd
from rlcl.learners.reinforcement.collector import Collector
from rlcl.learners.reinforcement.dqn import Dqn
from rlcl.learners.reinforcement.learner import ReinforcementLearner
from rlcl.learners.reinforcement.logged_values import LoggedValues
from rlcl.learners.reinforcement.ppo import Ppo
from rlcl.learners.reinforcement.rounds import collect_and_update
from rlcl.registry import name_of
from rlcl.types import BoundaryPolicy

__all__ = ["BATCHED", "BatchedSeeds", "check_batched_seeds"]

# Classes with the batched update of a learner, by the class of the learner.
BATCHED: Mapping[type, Any] = {Ppo: BatchedPpo, Dqn: BatchedDqn}


class BatchedLearners(Protocol):
    """Protocol of S learners whose updates are one computation."""

    @property
    def logged(self) -> LoggedValues:
        """Logged values of all learners: (S,) each, or a scalar for all."""
        ...

    @property
    def collects(self) -> bool:
        """Whether :meth:`collect` is supported."""
        ...

    def collect(self, collector: BatchedCollector, progress: float) -> Sequence[Any]:
        """Act for all learners, and return the result of :meth:`ReinforcementLearner.collect` for each."""
        ...

    def update_on(self, batch: Any) -> Tensor | None:
        """Update all learners with their stacked batches."""
        ...


@define(eq=False)
class BatchedSeeds:
    """Scheduler that advances several learners together, with one computation for their updates.

    Each learner requests to advance, and waits until all learners have a request. Then the learners with the lowest
    step advance. The state of a waiting learner does not change.
    """

    _members: list[Any] = field(init=False, factory=list)
    _requests: dict[int, tuple[Collector, float]] = field(init=False, factory=dict)  # by the id of the learner
    _errors: dict[int, DivergenceError] = field(init=False, factory=dict)  # by the id of the learner
    _joint: BatchedLearners = field(init=False, default=None)
    _joint_key: tuple[Any, ...] = field(init=False, default=())  # learners and part that the joint learner is for
    _batched_collector: BatchedCollector | None = field(init=False, default=None)
    paused: bool = field(init=False, default=False)  # whether all learners wait

    @contextmanager
    def registered(self, learner: Any) -> Iterator[None]:
        """Register a learner with a loaded state for the duration of the context."""
        learner.advance = self.advance
        self._members.append(learner)
        try:
            yield
        finally:
            self.unregister(learner)

    def unregister(self, learner: Any) -> None:
        """Remove a learner, which then advances on its own."""
        self._requests.pop(id(learner), None)
        self._members = [member for member in self._members if member is not learner]
        learner.advance = collect_and_update

    def advance(self, learner: ReinforcementLearner, collector: Collector, progress: float, /) -> Iterator[None]:
        """Advance a learner together with the others; yield while it waits for them."""
        self._requests[id(learner)] = collector, progress
        while id(learner) in self._requests:
            if self.paused or len(self._requests) < len(self._members):
                yield None
            else:
                self._advance()
        if (error := self._errors.pop(id(learner), None)) is not None:
            raise error

    def _advance(self) -> None:
        """Advance the learners with the lowest step, and remove their requests."""
        lowest_step = min(member.position.step for member in self._members)
        group = [member for member in self._members if member.position.step == lowest_step]
        collected = self._collect(group)
        requests = {id(member): self._requests.pop(id(member)) for member in group}
        group = [member for member in group if id(member) not in self._errors]
        if not group:
            return
        joint = self._joint_learner(group)
        batches = [member.batches(collected[id(member)], *requests[id(member)]) for member in group]
        for member_batches in zip(*batches, strict=True):
            errors = joint.update_on(stack_trees(member_batches))
            for i, member in enumerate(group):
                member.after_update(None if errors is None else errors[i])
        for member in group:
            member.round.end()
        distribute_logged_values(joint.logged, [member.logged for member in group])

    def _collect(self, group: Sequence[Any]) -> dict[int, Any]:
        """Act for a group of learners, together if that is supported and else one by one.

        Returns:
            The result of ``collect`` by the id of the learner, without learners that failed.
        """
        joint, requests = self._joint_learner(group), [self._requests[id(member)] for member in group]
        collectors = [collector for collector, _ in requests]
        if self._batched_collector is None or self._batched_collector.collectors != collectors:
            self._batched_collector = BatchedCollector.of(collectors)
        if self._batched_collector is not None and joint.collects:
            with self._batched_collector.synchronized() as batched_collector:
                results = joint.collect(batched_collector, requests[0][1])
            return {id(member): result for member, result in zip(group, results, strict=True)}
        collected = {}
        for member, request in zip(group, requests, strict=True):
            try:
                collected[id(member)] = member.collect(*request)
            except DivergenceError as error:  # raised later by the learner whose environment failed
                self._errors[id(member)] = error
        return collected

    def _joint_learner(self, group: Sequence[Any]) -> BatchedLearners:
        """Return the joint learner of a group.

        A new one is created for another group and for another part of the stream, because optimizers may have been
        reset in between.
        """
        key = (*map(id, group), group[0].position.experience, group[0].position.segment)
        if key != self._joint_key:
            self._joint_key, self._joint = key, BATCHED[type(group[0])](group)
        return self._joint


def distribute_logged_values(joint: LoggedValues, members: Sequence[LoggedValues]) -> None:
    """Move the logged values of several learners, (S,) or a scalar for all, to the logged values of each learner."""
    for name, values in joint.values.items():
        for value in values:
            member_values = value.unbind() if isinstance(value, Tensor) else [value] * len(members)
            for logged, member_value in zip(members, member_values, strict=True):
                logged.add(**{name: member_value})
    joint.values.clear()


def check_batched_seeds(learner: Any, boundary: BoundaryPolicy) -> None:
    """Check that batched seeds support a learner and a boundary policy.

    Args:
        learner: prepared learner.
        boundary: boundary policy of the run.

    Raises:
        UnsupportedError: a setting is not supported; the message names its key.
    """
    for key, reason in _refusals(learner, boundary):
        raise UnsupportedError(f"{key}: batched_seeds: true {reason}, or set batched_seeds: false")


def _refusals(learner: Any, boundary: BoundaryPolicy) -> Iterator[tuple[str, str]]:
    """Yield the keys of settings that are not supported, each with the reason and the remedy."""
    batched = BATCHED.get(type(learner))
    if batched is None:
        supported = " or ".join(name_of("learner", cls) for cls in BATCHED)
        yield "learner.type", f"does not support {name_of('learner', learner)}; use {supported}"
        return
    if learner.methods:
        yield "learner.methods", "updates all seeds in one computation, but methods act on one learner; remove them"
    if not isinstance(learner.optimizer, Adam | AdamW | RmsProp | Sgd):
        name = name_of("optimizer", learner.optimizer)
        yield "learner.optimizer", f"needs an optimizer that updates each weight independently, got {name}; use adam"
    for key, reason in batched.refusals(learner):
        yield f"learner.{key}", reason
    if any(steps_of(network) is None for network in batched.networks(learner)):
        chains = "only supports chains of linear layers with relu, leaky_relu or tanh between them"
        yield "learner.network", f"{chains}; use linear, or mlp without layer_norm and dropout"
    if boundary.exploration == "reset":
        yield "boundary.exploration", "has one step count for all parameters of a learner; set keep"
    if boundary.exploration == "best_return":
        yield "boundary.exploration", "acts by one policy in the environments of all seeds; set keep or uniform"
    if boundary.critic == "reset":
        yield "boundary.critic", "has one step count for all parameters of a learner; set keep"
