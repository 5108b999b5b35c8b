"""Training environments of a stream: checks, creation and restoring of their collectors, new seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import gymnasium as gym
import torch
from attrs import define, field

from rlcl.data.environments.contract import shorten
from rlcl.data.environments.flattening import flattening_remedy
from rlcl.data.sources import Environment
from rlcl.encoders.compose import observations_and_norm
from rlcl.encoders.identity import Identity
from rlcl.errors import UnsupportedError
from rlcl.learners.boundary import EncoderFitting
from rlcl.learners.reinforcement.collector import Collector
from rlcl.learners.stream_kinds import check_stream_kind
from rlcl.seeding import Seeds
from rlcl.state import clone_state
from rlcl.types import Experience, Setup

__all__ = ["CollectorFactory", "first_environment", "reseeded"]

FIT_OBSERVATIONS = 1000  # number of random observations on which encoders are fitted before an experience


@define(eq=False)
class CollectorFactory:
    """Factory of collectors, one for each part of an experience.

    Args:
        setup: setup of the learner.
        masked: whether action masks are read from the environments.
    """

    setup: Setup
    masked: bool
    restored: Mapping[str, Any] | None = field(init=False, default=None)  # loaded collector state of the current part
    _fitting: EncoderFitting = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._fitting = EncoderFitting.of(self.setup)

    def collector(self, part: Experience, done: int = 0, step: int = 0) -> Collector:
        """Create the collector of a part, or restore it from a loaded state.

        Args:
            part: part of an experience.
            done: env steps already done in the experience. If they are not 0 and there is no loaded state, the
                environments are created with other seeds.
            step: env steps already done in the stream, for drifting parameters.
        """
        assert isinstance(part.train, Environment)
        encoder = self.setup.encoder
        observations, _ = observations_and_norm(encoder)
        restored, self.restored = self.restored, None
        adapting = part.index == 0 or self.setup.boundary.encoder != "freeze"
        reopened = restored is None and done > 0
        train = part.train.at(step)
        source = reseeded(train, self.setup.seeds, done) if reopened else train
        fitting = restored is None and not reopened and self._fitting.due(part)
        if fitting and not isinstance(observations, Identity):
            observations.fit(torch.from_numpy(train.random_observations(FIT_OBSERVATIONS)))
        encoder_state = None if restored is None else clone_state(encoder.state_dict())
        collector = Collector(source, encoder, self.masked, adapting)
        if restored is not None:
            assert encoder_state is not None
            encoder.load_state_dict(encoder_state)  # creating the collector has updated running statistics
            collector.load_state_dict(restored)
        return collector


def reseeded(source: Environment, seeds: Seeds, done: int) -> Environment:
    """Return the environments of an experience that is resumed after ``done`` env steps, with separate seeds."""
    return attrs.evolve(source, seed=seeds.child(f"environments after {done}").integer())


def first_environment(setup: Setup, name: str) -> tuple[Environment, gym.spaces.Box, gym.Space[Any]]:
    """Return the first environment of a stream, its observation space and its action space.

    Args:
        setup: setup of the learner.
        name: name of the learner, for messages.

    Raises:
        UnsupportedError: the stream has no environments, or observations are not arrays.
    """
    check_stream_kind(name, {"environment"}, setup.spec.kind)
    source = setup.stream[0].train
    assert isinstance(source, Environment)
    observations, actions = source.spaces()
    if not isinstance(observations, gym.spaces.Box) or not observations.shape:
        kind = "single numbers (Box of shape ())" if isinstance(observations, gym.spaces.Box) else shorten(observations)
        raise UnsupportedError(
            f"learner {name} needs observations that are arrays (Box), got {kind} from environment {source.name}; "
            f"{flattening_remedy(observations)}"
        )
    return source, observations, actions
