"""Protocols of the components of learners: encoders, networks, optimizers, augmentations, schedules."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from rlcl.types.streams import Stream

if TYPE_CHECKING:
    import gymnasium as gym
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer

__all__ = ["Augmentation", "DriftFunction", "Encoder", "Network", "OptimizerFactory", "Schedule"]


class Encoder(Protocol):
    """A feature encoder. Its fitted state is part of the model's state.

    A class that derives from it need not define :meth:`adapt` and :meth:`space`.
    """

    def adapt(self, stream: Stream) -> Stream:
        """Return a stream whose observations :meth:`encode` can take, for example with several frames in each.

        The trainer calls it once, before anything else. The default returns the stream unchanged.

        Raises:
            UnsupportedError: the encoder does not support the stream.
        """
        return stream

    @abstractmethod
    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one encoded input.

        Raises:
            UnsupportedError: the encoder does not support inputs of that shape.
        """
        ...

    def space(self, space: gym.spaces.Box) -> gym.spaces.Box:
        """Return the space of encoded observations; by default unbounded float32 of :meth:`shape`.

        With a uint8 space, Stable-Baselines3 treats observations as images and stores them in a quarter of the memory.

        Args:
            space: space of raw observations.
        """
        import gymnasium as gym
        import numpy as np

        return gym.spaces.Box(-np.inf, np.inf, self.shape(space.shape), np.float32)

    @abstractmethod
    def fit(self, x: Tensor) -> None:
        """Fit the encoder to training inputs (B, *observation).

        In streams of arrays these are the inputs of an experience. In streams of environments they are observations
        under random actions when an experience starts, and then the observations of each env step.
        """
        ...

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Encode (B, *observation) of any dtype to (B, *encoded) float32, without changing ``x``."""
        ...

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the fitted state."""
        ...

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned."""
        ...


class Network(Protocol):
    """A factory of torch modules."""

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int) -> nn.Module:
        """Build a module.

        Args:
            shape: shape of one encoded input.
            outputs: number of outputs (of each head).
            tasks: number of tasks in the stream, at least 1.

        Returns:
            A module from (B, *shape) float32 to (B, outputs). If it has the attribute ``takes_task_ids``, it is
            called with ``task_ids`` (B,) as a second argument.
        """
        ...


class Augmentation(Protocol):
    """A random transformation of training inputs."""

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Transform a minibatch.

        Args:
            x: (B, *encoded) float32; not changed.
            generator: the only source of randomness, on the CPU.

        Returns:
            (B, *encoded) float32.
        """
        ...


class OptimizerFactory(Protocol):
    """A factory of torch optimizers."""

    def build(self, parameters: Sequence[torch.nn.Parameter]) -> Optimizer:
        """Build an optimizer of the parameters."""
        ...


class DriftFunction(Protocol):
    """A function from the step of a stream to the value of a drifting parameter.

    A class that derives from it need not define :meth:`changes` and :meth:`seeded`.
    """

    @abstractmethod
    def __call__(self, step: int) -> float:
        """Return the value at a step, counted from 0 over the whole stream."""
        ...

    def changes(self, steps: int) -> Sequence[int]:
        """Return the steps in (0, ``steps``) at which the value jumps, in ascending order; by default none."""
        return ()

    def seeded(self, seed: int) -> DriftFunction:
        """Return the function for the seed of a run; by default the function itself."""
        return self


class Schedule(Protocol):
    """A learning-rate schedule: a factor of each update in a budget, by which the learning rate is multiplied.

    For a reinforcement learner an update is a round: the env steps that it makes at once (the rollout of ppo) and all
    optimizer steps on them, which share one rate.
    """

    def __call__(self, update: int, updates: int) -> float:
        """Compute the factor by which the learning rate is multiplied.

        Args:
            update: index of the next update, from 0.
            updates: total number of updates, at least 1.

        Returns:
            The factor by which the optimizer's learning rate is multiplied, at least 0.
        """
        ...
