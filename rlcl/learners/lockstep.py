"""Learners of one config under several seeds, whose updates are one computation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define, field

from rlcl.learners.reinforcement import ReinforcementLearner
from rlcl.learners.side_by_side import stacked
from rlcl.reinforcement.collecting import Collector

__all__ = ["Lockstep"]


@define(eq=False)
class Lockstep:
    """Lets learners act one after the other, each in its own environments, and learn all at once.

    Each asks to advance, and waits until all have asked; then those that are furthest behind do. While one
    waits its state is what it was when it asked.
    """

    _members: list[Any] = field(init=False, factory=list)
    _asked: dict[int, tuple[Collector, float]] = field(init=False, factory=dict)  # by the place among the members
    _joint: Any = field(init=False, default=None)
    _joined: tuple[Any, ...] = field(init=False, default=())  # what the joint learner was made for
    paused: bool = field(init=False, default=False)  # whether all are to wait

    def join(self, learner: ReinforcementLearner) -> None:
        """Adds a learner whose state is loaded."""
        learner.lockstep = self
        self._members.append(learner)

    def leave(self, learner: ReinforcementLearner) -> None:
        """Waits for it no longer."""
        self._asked.pop(id(learner), None)
        self._members = [member for member in self._members if member is not learner]

    def advance(self, learner: ReinforcementLearner, collector: Collector, progress: float) -> Iterator[None]:
        """Advances a learner with the others; yields while it waits for them."""
        self._asked[id(learner)] = collector, progress
        while id(learner) in self._asked:
            if self.paused or len(self._asked) < len(self._members):
                yield None
            else:
                self._advance()

    def _advance(self) -> None:
        behind = min(member.position.step for member in self._members)
        group = [member for member in self._members if member.position.step == behind]
        joint = self._joint_of(group)
        asked = [self._asked[id(member)] for member in group]
        lessons = [member.lessons(*what) for member, what in zip(group, asked, strict=True)]
        for each in zip(*lessons, strict=True):
            errors = joint.improve(stacked(each))
            for i, member in enumerate(group):
                member.learned(None if errors is None else errors[i])
        joint.tell(group)
        for member in group:
            member.batch = None
            del self._asked[id(member)]

    def _joint_of(self, group: Sequence[Any]) -> Any:
        """Made anew for another group, and for another experience, before which optimizers may have been reset."""
        wanted = (*map(id, group), group[0].position.experience, group[0].position.segment)
        if wanted != self._joined:
            self._joined, self._joint = wanted, group[0].beside(group[1:])
        return self._joint
