"""Optional capabilities of learners, as protocols that are checked at run time.

A capability is checked once, before the work that uses it, and never inside a training loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rlcl.types.methods import Host, Method
from rlcl.types.streams import Experience

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

__all__ = [
    "Budgeted",
    "Cautious",
    "Dividing",
    "Hosted",
    "Masking",
    "Methodical",
    "Reopening",
    "Representing",
    "Reserving",
    "Sampling",
    "Starting",
    "Warming",
    "masks_actions",
    "methods_of",
]


@runtime_checkable
class Budgeted(Protocol):
    """A learner that can compute the length of its training in advance."""

    def steps(self, experience: Experience) -> int:
        """Return the number of updates (for environments: env steps) in the budget of an experience."""
        ...


@runtime_checkable
class Cautious(Protocol):
    """A learner that, once prepared, can report settings or spaces that are probably not intended."""

    def cautions(self) -> Sequence[str]:
        """Return the warnings, one line each, with the remedy."""
        ...


@runtime_checkable
class Dividing(Protocol):
    """A learner whose minibatches several processes may divide, so that each computes the gradient of its rows."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Networks by name."""
        ...

    def indivisible(self) -> str | None:
        """Return the reason why the minibatches of the prepared learner cannot be divided, or None."""
        ...


@runtime_checkable
class Hosted(Protocol):
    """A learner that gives its methods a host other than itself."""

    @property
    def host(self) -> Host:
        """The host that methods are attached to."""
        ...


@runtime_checkable
class Masking(Protocol):
    """A predictor whose ``predict`` can take the masks of the actions that the environments allow."""

    @property
    def takes_action_masks(self) -> bool:
        """Whether ``predict`` takes ``action_masks``: (B, K) bool, or None if all actions are allowed."""
        ...


@runtime_checkable
class Methodical(Protocol):
    """A learner with continual-learning methods."""

    @property
    def methods(self) -> Sequence[Method]:
        """The continual-learning methods of the learner."""
        ...


@runtime_checkable
class Reopening(Budgeted, Protocol):
    """A learner that can resume the last finished experience, to continue training on it."""

    def closed_by(self) -> str | None:
        """Return the reason why the last experience cannot be resumed, or None if it can.

        One reason is a method that has consolidated the experience.
        """
        ...

    def reopen(self, update: int) -> None:
        """Move back into the experience that has just finished; the next call of ``learn`` continues it.

        Args:
            update: number of updates (for environments: env steps) done in that experience, fewer than its budget.
        """
        ...


@runtime_checkable
class Representing(Protocol):
    """A learner that learns a representation of inputs."""

    def represent(self, x: Any, task_id: int | None = None) -> Tensor:
        """Return the representation (B, features) of raw inputs (B, *observation)."""
        ...


@runtime_checkable
class Reserving(Protocol):
    """A learner that reserves the memory of its replay buffer before the buffer is filled."""

    @property
    def reserved_bytes(self) -> tuple[int, int]:
        """Size of the replay buffer in bytes, and the part of it that the system has not allocated yet."""
        ...


@runtime_checkable
class Sampling(Protocol):
    """A learner whose policy may be stochastic."""

    @property
    def samples_actions(self) -> bool:
        """Whether the policy is stochastic, so that :meth:`sample_actions` can be called."""
        ...

    def sample_actions(
        self, x: Any, task_id: int | None = None, state: Any = None, *, rng: np.random.Generator
    ) -> tuple[Any, Any]:
        """Sample actions from the policy.

        Args:
            x, task_id, state: see :meth:`rlcl.types.Predictor.predict`; the argument ``action_masks`` as well.
            rng: the only source of randomness.

        Returns:
            Actions (B, *action), and the next state.
        """
        ...


@runtime_checkable
class Starting(Protocol):
    """A learner whose networks can start from the weights of another run, :attr:`rlcl.types.Setup.initial`."""

    def networks_in(self, state: Mapping[str, Any]) -> Mapping[str, Mapping[str, Tensor]]:
        """Return the weights of the networks in a state dict; called on a learner that is not prepared.

        Args:
            state: the result of ``state_dict`` of a learner of this class.

        Returns:
            Tensors by network, then by name in the network's state dict.
        """
        ...


@runtime_checkable
class Warming(Protocol):
    """A learner that acts at random before its first update."""

    @property
    def learning_starts(self) -> int:
        """Env steps before the first update."""
        ...


def masks_actions(predictor: object) -> bool:
    """Return whether a predictor takes action masks."""
    return isinstance(predictor, Masking) and predictor.takes_action_masks


def methods_of(learner: object) -> Sequence[Method]:
    """Return a learner's continual-learning methods, or an empty sequence if it takes none."""
    return learner.methods if isinstance(learner, Methodical) else ()
