"""Batched seeds: learners of one config under several seeds, whose updates are one computation.

Which learners have such an update is :data:`BATCHED`; the learners themselves know nothing of it.
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
from rlcl.learners.fast.batched_environments import Collectors
from rlcl.learners.fast.batched_ppo import BatchedPpo
from rlcl.learners.fast.batched_weights import stacked
from rlcl.learners.optimizers import Adam, AdamW, RmsProp, Sgd
from rlcl.learners.reinforcement.advancing import by_itself
from rlcl.learners.reinforcement.collecting import Collector
from rlcl.learners.reinforcement.dqn import Dqn
from rlcl.learners.reinforcement.learner import ReinforcementLearner
from rlcl.learners.reinforcement.notes import Notes
from rlcl.learners.reinforcement.ppo import Ppo
from rlcl.registry import name_of
from rlcl.types import BoundaryPolicy

__all__ = ["BATCHED", "BatchedSeeds", "check_batched_seeds"]

# Of each learner that has it: what makes the updates of several.
BATCHED: Mapping[type, Any] = {Ppo: BatchedPpo, Dqn: BatchedDqn}


class Batched(Protocol):
    """Several learners, whose updates are one computation."""

    @property
    def notes(self) -> Notes:
        """What it noted of all of them, (S,) or one number for all."""
        ...

    @property
    def collects(self) -> bool:
        """Whether :meth:`collect` can act for all of them."""
        ...

    def collect(self, collectors: Collectors, progress: float) -> Sequence[Any]:
        """What :meth:`ReinforcementLearner.collect` gives, of each."""
        ...

    def improve(self, lesson: Any) -> Tensor | None:
        """Learns from lessons of all, stacked."""
        ...


@define(eq=False)
class BatchedSeeds:
    """Lets learners act, and learn in one computation.

    Each asks to advance, and waits until all have asked; then those that are furthest behind do. While one
    waits its state is what it was when it asked.
    """

    _members: list[Any] = field(init=False, factory=list)
    _asked: dict[int, tuple[Collector, float]] = field(init=False, factory=dict)  # by the place among the members
    _failed: dict[int, DivergenceError] = field(init=False, factory=dict)
    _joint: Batched = field(init=False, default=None)
    _joined: tuple[Any, ...] = field(init=False, default=())  # what the joint learner was made for
    _collectors: Collectors | None = field(init=False, default=None)
    paused: bool = field(init=False, default=False)  # whether all are to wait

    @contextmanager
    def joined(self, learner: Any) -> Iterator[None]:
        """Has a learner, whose state is loaded, among those that are waited for."""
        learner.advance = self.advance
        self._members.append(learner)
        try:
            yield
        finally:
            self.leave(learner)

    def leave(self, learner: Any) -> None:
        """Waits for a learner no longer: it goes by itself."""
        self._asked.pop(id(learner), None)
        self._members = [member for member in self._members if member is not learner]
        learner.advance = by_itself

    def advance(self, learner: ReinforcementLearner, collector: Collector, progress: float, /) -> Iterator[None]:
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
        hand_on(joint.notes, [member.notes for member in group])

    def _collected(self, group: Sequence[Any]) -> dict[int, Any]:
        """What came of acting: in one step where environments can be stepped so, else one after the other."""
        joint, asked = self._joint_of(group), [self._asked[id(member)] for member in group]
        collectors = [collector for collector, _ in asked]
        if self._collectors is None or self._collectors.parts != collectors:
            self._collectors = Collectors.of(collectors)
        if self._collectors is not None and joint.collects:
            with self._collectors.at_work() as collector:
                found = joint.collect(collector, asked[0][1])
            return {id(member): its for member, its in zip(group, found, strict=True)}
        collected = {}
        for member, what in zip(group, asked, strict=True):
            try:
                collected[id(member)] = member.collect(*what)
            except DivergenceError as error:  # that member's alone, whoever asked last
                self._failed[id(member)] = error
        return collected

    def _joint_of(self, group: Sequence[Any]) -> Batched:
        """Made anew for another group, and for another experience, before which optimizers may have been reset."""
        wanted = (*map(id, group), group[0].position.experience, group[0].position.segment)
        if wanted != self._joined:
            self._joined, self._joint = wanted, BATCHED[type(group[0])](group)
        return self._joint


def hand_on(notes: Notes, to: Sequence[Notes]) -> None:
    """Moves what was noted of several learners, (S,) or one number for all, to the notes of each."""
    for name, values in notes.values.items():
        for value in values:
            each = value.unbind() if isinstance(value, Tensor) else [value] * len(to)
            for its, noted in zip(to, each, strict=True):
                its.add(**{name: noted})
    notes.values.clear()


def check_batched_seeds(learner: Any, boundary: BoundaryPolicy) -> None:
    """Raises UnsupportedError for what batched seeds do not go with, with its key.

    Args:
        learner: prepared.
        boundary: what it keeps from one experience to the next.
    """
    for key, reason in _refusals(learner, boundary):
        raise UnsupportedError(f"{key}: batched_seeds: true {reason}, or set batched_seeds: false")


def _refusals(learner: Any, boundary: BoundaryPolicy) -> Iterator[tuple[str, str]]:
    """Keys, and why and what to do instead."""
    batched = BATCHED.get(type(learner))
    if batched is None:
        known = " or ".join(name_of("learner", cls) for cls in BATCHED)
        yield "learner.type", f"has no batched update of {name_of('learner', learner)}; use {known}"
        return
    if learner.methods:
        yield "learner.methods", "makes the updates of all seeds in one, and methods see those of one; leave them out"
    if not isinstance(learner.optimizer, Adam | AdamW | RmsProp | Sgd):
        name = name_of("optimizer", learner.optimizer)
        yield "learner.optimizer", f"takes one that is known to step each weight alone, not {name}; use adam"
    for key, reason in batched.refusals(learner):
        yield f"learner.{key}", reason
    if any(steps_of(network) is None for network in batched.networks(learner)):
        chains = "takes chains of linear layers with relu or tanh between them"
        yield "learner.network", f"{chains}; use linear, or mlp without layer_norm and dropout"
    if boundary.exploration == "reset":
        yield "boundary.exploration", "counts one number of steps for all parameters of a learner; write keep"
