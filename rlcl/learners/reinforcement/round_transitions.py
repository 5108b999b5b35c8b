"""Transitions of the round in progress."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from rlcl.types import Transitions

__all__ = ["RoundTransitions"]


@define(eq=False)
class RoundTransitions:
    """The transitions that a learner collected in the round in progress, built when they are first accessed."""

    _build: Callable[[], Transitions] | None = field(init=False, default=None)
    _transitions: Transitions | None = field(init=False, default=None)

    def begin(self, build: Callable[[], Transitions]) -> None:
        """Start the updates of a round, whose transitions ``build`` returns."""
        self._build, self._transitions = build, None

    def end(self) -> None:
        """Finish the round, and release its transitions."""
        self._build = self._transitions = None

    @property
    def transitions(self) -> Transitions | None:
        """See :attr:`rlcl.types.TransitionHost.collected`."""
        if self._transitions is None and self._build is not None:
            self._transitions = self._build()
        return self._transitions
