"""What learners are built of: encoders, networks, optimizers, augmentations."""

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

__all__ = ["Augmentation", "Encoder", "Network", "OptimizerFactory", "Schedule"]


class Encoder(Protocol):
    """Feature encoding; its fitted state travels with the model.

    A class that derives from it need not define :meth:`adapt` and :meth:`space`.
    """

    def adapt(self, stream: Stream) -> Stream:
        """The stream that gives what :meth:`encode` takes, for example several frames in each observation.

        The trainer calls it once, before anything else. By default the stream as it is.

        Raises:
            UnsupportedError: the stream cannot.
        """
        return stream

    @abstractmethod
    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one encoded input.

        Raises:
            UnsupportedError: inputs of that shape cannot be encoded.
        """
        ...

    def space(self, space: gym.spaces.Box) -> gym.spaces.Box:
        """What an environment's observations become; by default unbounded float32 of :meth:`shape`.

        Bytes that stay bytes are images to Stable-Baselines3, and take a quarter of the memory in its buffers.

        Args:
            space: of raw observations.
        """
        import gymnasium as gym
        import numpy as np

        return gym.spaces.Box(-np.inf, np.inf, self.shape(space.shape), np.float32)

    @abstractmethod
    def fit(self, x: Tensor) -> None:
        """Sees training inputs (B, *observation): an experience's arrays, or a rollout."""
        ...

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """(B, *observation) of any dtype to (B, *encoded) float32, without changing its input."""
        ...

    @abstractmethod
    def state_dict(self) -> dict[str, Any]: ...

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Network(Protocol):
    """Builds a torch module."""

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int) -> nn.Module:
        """
        Args:
            shape: of one encoded input.
            outputs: number of outputs (of each head).
            tasks: number of tasks in the stream, at least 1.

        Returns:
            A module from (B, *shape) float32 to (B, outputs); it is called with ``task_ids``
            (B,) as a second argument where it has the attribute ``takes_task_ids``.
        """
        ...


class Augmentation(Protocol):
    """Changes training inputs at random."""

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """
        Args:
            x: (B, *encoded) float32; left as it is.
            generator: on the CPU, the only source of randomness.

        Returns:
            (B, *encoded) float32.
        """
        ...


class OptimizerFactory(Protocol):
    """Builds a torch optimizer."""

    def build(self, parameters: Sequence[torch.nn.Parameter]) -> Optimizer: ...


class Schedule(Protocol):
    """How the learning rate changes over a budget, from update to update.

    Of a reinforcement learner an update is a round: the env steps that it makes at once (ppo's rollout) and all that it
    learns from them, at one rate.
    """

    def __call__(self, update: int, updates: int) -> float:
        """
        Args:
            update: the one about to be made, from 0.
            updates: how many there are in all, at least 1.

        Returns:
            The factor of the optimizer's own rate, at least 0.
        """
        ...
