"""Shared parts of a :class:`rlcl.types.BoundaryPolicy`: encoder fitting, and the check of its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import field, frozen

from rlcl.errors import UnsupportedError
from rlcl.methods.attach import AttachedMethods
from rlcl.registry import name_of
from rlcl.state import clone_state
from rlcl.types import (
    BoundaryLearner,
    BoundaryPolicy,
    Encoder,
    Experience,
    ForgettingMethod,
    Learner,
    Method,
    Setup,
    Visibility,
)

__all__ = ["NOT_REINFORCEMENT", "EncoderFitting", "check_boundary_policy", "freeze_encoder", "memory_refusal"]


# Reasons why learners other than reinforcement learners refuse settings of a boundary policy.
NOT_REINFORCEMENT: Mapping[str, str] = {
    "exploration": "it does not explore",
    "critic": "it has no critic",
    "buffer": "it has no replay buffer of transitions",
}


@frozen(eq=False)
class EncoderFitting:
    """Rule for fitting an encoder at the start of each experience.

    Args:
        encoder: encoder of the run.
        policy: ``keep``, ``refit`` or ``freeze``; see :class:`rlcl.types.BoundaryPolicy`.
        unfitted: state of the encoder before the first experience, for ``refit``.
    """

    encoder: Encoder
    policy: str
    unfitted: dict[str, Any] = field(factory=dict)

    @classmethod
    def of(cls, setup: Setup) -> EncoderFitting:
        """Create the rule that a setup defines; the encoder of the setup is not fitted yet."""
        policy = setup.boundary.encoder
        return cls(setup.encoder, policy, clone_state(setup.encoder.state_dict()) if policy == "refit" else {})

    def due(self, experience: Experience) -> bool:
        """Return whether the encoder is to be fitted on an experience that starts.

        With ``refit``, the encoder is reset to its unfitted state first.
        """
        if experience.index and self.policy == "refit":
            self.encoder.load_state_dict(clone_state(self.unfitted))
        return not experience.index or self.policy != "freeze"


def freeze_encoder(setup: Setup, methods: Sequence[Method]) -> Setup:
    """Return the setup whose encoder is frozen after the first experience if a method needs that.

    Raises:
        UnsupportedError: the encoder is to be fitted anew in each experience.
    """
    freezing = [method for method in methods if method.freezes_encoder]
    if not freezing:
        return setup
    if setup.boundary.encoder == "refit":
        raise UnsupportedError(
            f"boundary.encoder: refit would change the inputs of the weights that method "
            f"{name_of('method', freezing[0])} holds; set freeze, or remove the key"
        )
    return attrs.evolve(setup, boundary=attrs.evolve(setup.boundary, encoder="freeze"))


def memory_refusal(attached: AttachedMethods) -> str | None:
    """Return the reason why the methods' memories cannot be reset, or None if they can."""
    if not attached.remembering:
        return "none of its methods has a memory"
    idle = [name_of("method", m) for m in attached.remembering if getattr(m, "stores_at_end", False)]
    if idle:
        return (
            f"method {idle[0]} stores examples at the end of an experience, and a memory that is emptied then is never "
            "used; to empty a replay buffer alone, set boundary.buffer: reset"
        )
    unresettable = [name_of("method", m) for m in attached.remembering if not isinstance(m, ForgettingMethod)]
    return f"method {unresettable[0]} does not support a reset of its memory" if unresettable else None


def check_boundary_policy(policy: BoundaryPolicy, learner: Learner, encoder: Encoder, visibility: Visibility) -> None:
    """Check that a learner supports a boundary policy.

    Args:
        policy: boundary policy of the run.
        learner: learner after its ``prepare``.
        encoder: encoder of the run.
        visibility: visibility settings of the stream.

    Raises:
        UnsupportedError: a setting is not supported; the message names the key, the value and the reason.
    """
    for key, value in policy.changes.items():
        reason = None
        if visibility.boundaries == "hidden":
            reason = "this stream hides where an experience ends (stream.visibility.boundaries)"
        elif not isinstance(learner, BoundaryLearner):
            reason = (
                f"learner {name_of('learner', learner)} has no method refuses(key, value), so its support is unknown"
            )
        elif (refusal := learner.refuses(key, value)) is not None:
            reason = f"learner {name_of('learner', learner)}: {refusal}"
        elif key == "encoder" and not _has_leaves(encoder.state_dict()):
            reason = f"encoder {name_of('encoder', encoder)} has no fitted state"
        if reason is not None:
            raise UnsupportedError(f"boundary.{key}: {value} is not possible: {reason}; set keep, or remove the key")


def _has_leaves(state: Any) -> bool:
    """Return whether a tree has any leaf."""
    if isinstance(state, dict | list | tuple):
        return any(_has_leaves(part) for part in (state.values() if isinstance(state, dict) else state))
    return True
