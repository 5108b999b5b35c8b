"""Boundaries between experiences: what of a :class:`rlcl.types.BoundaryPolicy` learners share."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from rlcl.errors import UnsupportedError
from rlcl.methods.attach import Attached
from rlcl.registry import name_of
from rlcl.state import cloned
from rlcl.types import (
    BoundaryLearner,
    BoundaryPolicy,
    Encoder,
    Experience,
    ForgettingMethod,
    Learner,
    Setup,
    Visibility,
)

__all__ = ["EncoderFitting", "check_boundary", "memory_refusal"]


@frozen(eq=False)
class EncoderFitting:
    """When an encoder is fitted, and on top of what.

    Args:
        encoder: of the run.
        policy: ``keep``, ``refit`` or ``freeze``; see :class:`rlcl.types.BoundaryPolicy`.
        unfitted: its state before the first experience, for ``refit``.
    """

    encoder: Encoder
    policy: str
    unfitted: dict[str, Any] = field(factory=dict)

    @classmethod
    def of(cls, setup: Setup) -> EncoderFitting:
        """As a setup says; its encoder has seen nothing yet."""
        policy = setup.boundary.encoder
        return cls(setup.encoder, policy, cloned(setup.encoder.state_dict()) if policy == "refit" else {})

    def due(self, experience: Experience) -> bool:
        """Whether an experience that begins is fitted on; with ``refit``, the encoder has forgotten the others."""
        if experience.index and self.policy == "refit":
            self.encoder.load_state_dict(cloned(self.unfitted))
        return not experience.index or self.policy != "freeze"


def memory_refusal(attached: Attached) -> str | None:
    """Why the methods' memories cannot be emptied, None where they can."""
    if not attached.remembering:
        return "none of its methods has a memory"
    stuck = [name_of("method", m) for m in attached.remembering if not isinstance(m, ForgettingMethod)]
    return f"method {stuck[0]} cannot do without its memory" if stuck else None


def check_boundary(policy: BoundaryPolicy, learner: Learner, encoder: Encoder, visibility: Visibility) -> None:
    """Refuses what a run cannot do at its boundaries.

    Args:
        policy: of the run.
        learner: prepared.
        encoder: of the run.
        visibility: of its stream.

    Raises:
        UnsupportedError: by key, value and reason.
    """
    for key, value in policy.changes.items():
        reason = None
        if visibility.boundaries == "hidden":
            reason = "this stream hides where an experience ends (stream.visibility.boundaries)"
        elif not isinstance(learner, BoundaryLearner):
            reason = f"learner {name_of('learner', learner)} has no method refuses(key), and may not know of it"
        elif (refusal := learner.refuses(key)) is not None:
            reason = f"learner {name_of('learner', learner)}: {refusal}"
        elif key == "encoder" and not _holds(encoder.state_dict()):
            reason = f"encoder {name_of('encoder', encoder)} keeps nothing that it was fitted on"
        if reason is not None:
            raise UnsupportedError(f"boundary.{key}: {value} is not possible: {reason}; write keep, or leave it out")


def _holds(state: Any) -> bool:
    """Whether a tree has any leaf."""
    if isinstance(state, dict | list | tuple):
        return any(_holds(part) for part in (state.values() if isinstance(state, dict) else state))
    return True
