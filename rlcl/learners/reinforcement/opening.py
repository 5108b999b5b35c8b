"""Training environments of one part of a stream: checked, opened, and put back to where a loaded state left them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import gymnasium as gym
import torch
from attrs import define, field

from rlcl.data.environments.contract import shortened
from rlcl.data.environments.vectors import remedy_for
from rlcl.data.sources import Environment
from rlcl.encoders.compose import observations_and_norm
from rlcl.encoders.identity import Identity
from rlcl.errors import UnsupportedError
from rlcl.learners.boundary import EncoderFitting
from rlcl.learners.needs import check_kind
from rlcl.learners.reinforcement.collecting import Collector
from rlcl.seeding import Seeds
from rlcl.state import cloned
from rlcl.types import Experience, Setup

__all__ = ["Opening", "first_environment", "reseeded"]

FIT_OBSERVATIONS = 1000  # random observations that an encoder is fitted on before an experience


@define(eq=False)
class Opening:
    """Opens the environments of each part in turn.

    Args:
        setup: of the learner.
        masked: whether environments are asked which actions they allow.
    """

    setup: Setup
    masked: bool
    restored: Mapping[str, Any] | None = field(init=False, default=None)  # a loaded state of the part in progress
    _fitting: EncoderFitting = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._fitting = EncoderFitting.of(self.setup)

    def collector(self, part: Experience, done: int = 0) -> Collector:
        """The part's environments, new or where a loaded state left them.

        Args:
            part: that is learned from.
            done: env steps that it has had; without a state of its environments, they begin anew under other seeds.
        """
        assert isinstance(part.train, Environment)
        encoder = self.setup.encoder
        observations, _ = observations_and_norm(encoder)
        restored, self.restored = self.restored, None
        adapting = part.index == 0 or self.setup.boundary.encoder != "freeze"
        reopened = restored is None and done > 0
        source = reseeded(part.train, self.setup.seeds, done) if reopened else part.train
        fitting = restored is None and not reopened and self._fitting.due(part)
        if fitting and not isinstance(observations, Identity):
            observations.fit(torch.from_numpy(part.train.random_observations(FIT_OBSERVATIONS)))
        encoder_state = None if restored is None else cloned(encoder.state_dict())
        collector = Collector(source, encoder, self.masked, adapting)
        if restored is not None:
            assert encoder_state is not None
            encoder.load_state_dict(encoder_state)  # a reset has updated running statistics
            collector.load_state_dict(restored)
        return collector


def reseeded(source: Environment, seeds: Seeds, done: int) -> Environment:
    """The environments of an experience that is taken up again after so many env steps, under seeds of their own."""
    return attrs.evolve(source, seed=seeds.child(f"environments after {done}").integer())


def first_environment(setup: Setup, name: str) -> tuple[Environment, gym.spaces.Box, gym.Space[Any]]:
    """The first environment of a stream, with its spaces of observations and of actions.

    Args:
        setup: of the learner.
        name: the learner's, for messages.

    Raises:
        UnsupportedError: it is no stream of environments, or observations are not arrays.
    """
    check_kind(name, {"environment"}, setup.spec.kind)
    source = setup.stream[0].train
    assert isinstance(source, Environment)
    observations, actions = source.spaces()
    if not isinstance(observations, gym.spaces.Box) or not observations.shape:
        what = (
            "single numbers (Box of shape ())" if isinstance(observations, gym.spaces.Box) else shortened(observations)
        )
        raise UnsupportedError(
            f"learner {name} takes observations that are arrays (Box), and those of environment {source.name} are "
            f"{what}; {remedy_for(observations)}"
        )
    return source, observations, actions
