"""Learners of one config under several seeds, whose updates are one computation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import define, field

from rlcl.errors import DivergenceError, UnsupportedError
from rlcl.learners.fast.backprop import steps_of
from rlcl.learners.fast.batched_environments import Collectors
from rlcl.learners.fast.batched_weights import stacked
from rlcl.learners.optimizers import Adam, AdamW, RmsProp, Sgd
from rlcl.learners.reinforcement.collecting import Collector
from rlcl.learners.reinforcement.learner import ReinforcementLearner
from rlcl.registry import name_of
from rlcl.types import BoundaryPolicy

__all__ = ["Lockstep", "check_lockstep"]


@define(eq=False)
class Lockstep:
    """Lets learners act one after the other, each in its own environments, and learn all at once.

    Each asks to advance, and waits until all have asked; then those that are furthest behind do. While one
    waits its state is what it was when it asked.
    """

    _members: list[Any] = field(init=False, factory=list)
    _asked: dict[int, tuple[Collector, float]] = field(init=False, factory=dict)  # by the place among the members
    _failed: dict[int, DivergenceError] = field(init=False, factory=dict)
    _joint: Any = field(init=False, default=None)
    _joined: tuple[Any, ...] = field(init=False, default=())  # what the joint learner was made for
    _collectors: Collectors | None = field(init=False, default=None)
    paused: bool = field(init=False, default=False)  # whether all are to wait

    @contextmanager
    def joined(self, learner: Any) -> Iterator[None]:
        """Has a learner, whose state is loaded, among those that are waited for."""
        learner.lockstep = self
        self._members.append(learner)
        try:
            yield
        finally:
            self._asked.pop(id(learner), None)
            self._members = [member for member in self._members if member is not learner]
            learner.lockstep = None

    def advance(self, learner: ReinforcementLearner, collector: Collector, progress: float) -> Iterator[None]:
        """Advances a learner with the others; yields while it waits for them."""
        self._asked[id(learner)] = collector, progress
        while id(learner) in self._asked:
            if self.paused or len(self._asked) < len(self._members):
                yield None
            else:
                self._advance()
        if (error := self._failed.pop(id(learner), None)) is not None:
            raise error

    def _advance(self) -> None:
        behind = min(member.position.step for member in self._members)
        group = [member for member in self._members if member.position.step == behind]
        collected = self._collected(group)
        asked = {id(member): self._asked.pop(id(member)) for member in group}
        group = [member for member in group if id(member) not in self._failed]
        if not group:
            return
        joint = self._joint_of(group)
        lessons = [member.lessons(collected[id(member)], *asked[id(member)]) for member in group]
        for each in zip(*lessons, strict=True):
            errors = joint.improve(stacked(each))
            for i, member in enumerate(group):
                member.learned(None if errors is None else errors[i])
        joint.tell(group)

    def _collected(self, group: Sequence[Any]) -> dict[int, Any]:
        """What came of acting: at once where environments can be stepped so, else one after the other."""
        joint, asked = self._joint_of(group), [self._asked[id(member)] for member in group]
        collectors = [collector for collector, _ in asked]
        if self._collectors is None or self._collectors.parts != collectors:
            self._collectors = Collectors.of(collectors)
        if self._collectors is not None and joint.collects_at_once:
            joint.position = group[0].position
            with self._collectors.at_work() as collector:
                found = joint.parted(joint.collect(collector, asked[0][1]), len(group))
            return {id(member): its for member, its in zip(group, found, strict=True)}
        collected = {}
        for member, what in zip(group, asked, strict=True):
            try:
                collected[id(member)] = member.collect(*what)
            except DivergenceError as error:  # that member's alone, whoever asked last
                self._failed[id(member)] = error
        return collected

    def _joint_of(self, group: Sequence[Any]) -> Any:
        """Made anew for another group, and for another experience, before which optimizers may have been reset."""
        wanted = (*map(id, group), group[0].position.experience, group[0].position.segment)
        if wanted != self._joined:
            self._joined, self._joint = wanted, group[0].beside(group[1:])
        return self._joint


def check_lockstep(learner: Any, boundary: BoundaryPolicy) -> None:
    """Raises UnsupportedError for what several seeds at once do not go with, with its key.

    Args:
        learner: prepared.
        boundary: what it keeps from one experience to the next.
    """
    for key, reason in _refusals(learner, boundary):
        raise UnsupportedError(f"{key}: batched_seeds: true {reason}, or set batched_seeds: false")


def _refusals(learner: Any, boundary: BoundaryPolicy) -> Iterator[tuple[str, str]]:
    """Keys, and why and what to do instead."""
    if not hasattr(learner, "beside"):
        yield "learner.type", f"has no updates of several {name_of('learner', learner)} at once; use ppo or dqn"
        return
    if learner.methods:
        yield "learner.methods", "makes the updates of all seeds in one, and methods see those of one; leave them out"
    if not isinstance(learner.optimizer, Adam | AdamW | RmsProp | Sgd):
        name = name_of("optimizer", learner.optimizer)
        yield "learner.optimizer", f"takes one that is known to step each weight alone, not {name}; use adam"
    if getattr(learner, "recurrent", None) is not None:
        yield "learner.recurrent", "takes networks that remember nothing; leave it out"
    if any(steps_of(network) is None for network in learner.networks):
        chains = "takes chains of linear layers with relu or tanh between them"
        yield "learner.network", f"{chains}; use linear, or mlp without layer_norm and dropout"
    if getattr(learner, "target_kl", None) is not None:
        yield "learner.target_kl", "makes the passes of all seeds together, and this ends each elsewhere; leave it out"
    if boundary.exploration == "reset":
        yield "boundary.exploration", "counts one number of steps for all parameters of a learner; write keep"
