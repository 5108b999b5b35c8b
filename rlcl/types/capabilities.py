"""What some learners can and others cannot; asked once for a round of work, never within it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rlcl.types.methods import Host, Method
from rlcl.types.streams import Experience

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Budgeted",
    "Cautious",
    "Hosted",
    "Masking",
    "Methodical",
    "Reopening",
    "Representing",
    "Reserving",
    "Starting",
    "Warming",
    "masks_actions",
    "methods_of",
]


@runtime_checkable
class Budgeted(Protocol):
    """A learner that knows the length of its training beforehand."""

    def steps(self, experience: Experience) -> int:
        """How many updates (env steps) an experience's budget comes to."""
        ...


@runtime_checkable
class Cautious(Protocol):
    """A learner that sees, once prepared, what in its settings or spaces is hardly meant."""

    def cautions(self) -> Sequence[str]:
        """One line each, with the remedy."""
        ...


@runtime_checkable
class Hosted(Protocol):
    """A learner that shows methods a host other than itself."""

    @property
    def host(self) -> Host: ...


@runtime_checkable
class Masking(Protocol):
    """A predictor whose ``predict`` can be told which actions the environments allow."""

    @property
    def takes_action_masks(self) -> bool:
        """Whether ``predict`` takes ``action_masks``: (B, K) bool, or None for all."""
        ...


@runtime_checkable
class Methodical(Protocol):
    """A learner with continual-learning methods."""

    @property
    def methods(self) -> Sequence[Method]: ...


@runtime_checkable
class Reopening(Budgeted, Protocol):
    """A learner that can take up the last experience again after it has ended, to learn more of it."""

    def closed_by(self) -> str | None:
        """Why it cannot after all, for example a method that has consolidated the experience; None where it can."""
        ...

    def reopen(self, update: int) -> None:
        """Move back into the experience that has just ended; the next call of ``learn`` continues it.

        Args:
            update: updates (env steps) done in it, fewer than its budget comes to.
        """
        ...


@runtime_checkable
class Representing(Protocol):
    """A learner that learns a representation of inputs."""

    def represent(self, x: Any, task_id: int | None = None) -> Tensor:
        """(B, features) of raw inputs (B, *observation)."""
        ...


@runtime_checkable
class Reserving(Protocol):
    """A learner whose memory is reserved before it is filled."""

    @property
    def reserved_bytes(self) -> tuple[int, int]:
        """Bytes of its memory of transitions, and those of them that the system has not given yet."""
        ...


@runtime_checkable
class Starting(Protocol):
    """A learner whose networks can begin with the weights of another run, :attr:`rlcl.types.Setup.initial`."""

    def networks_in(self, state: Mapping[str, Any]) -> Mapping[str, Mapping[str, Tensor]]:
        """The weights of its networks in what ``state_dict`` gave; asked of a learner that was not prepared.

        Returns:
            Tensors by network and by name within it.
        """
        ...


@runtime_checkable
class Warming(Protocol):
    """A learner that acts at random before it learns."""

    @property
    def learning_starts(self) -> int:
        """Env steps before the first update."""
        ...


def masks_actions(predictor: object) -> bool:
    """Whether a predictor is to be told which actions are allowed."""
    return isinstance(predictor, Masking) and predictor.takes_action_masks


def methods_of(learner: object) -> Sequence[Method]:
    """A learner's continual-learning methods, none where it takes none."""
    return learner.methods if isinstance(learner, Methodical) else ()
