"""What learners are built of: encoders, networks, optimizers, augmentations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rlcl.types.streams import Stream

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer

__all__ = ["AdaptingEncoder", "Augmentation", "Encoder", "Network", "OptimizerFactory", "Schedule"]


class Encoder(Protocol):
    """Feature encoding; its fitted state travels with the model."""

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one encoded input.

        Raises:
            UnsupportedError: inputs of that shape cannot be encoded.
        """
        ...

    def fit(self, x: Tensor) -> None:
        """Sees training inputs (B, *observation): an experience's arrays, or a rollout."""
        ...

    def encode(self, x: Tensor) -> Tensor:
        """(B, *observation) of any dtype to (B, *encoded) float32, without changing its input."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class AdaptingEncoder(Protocol):
    """An encoder that asks something of the stream, for example several frames in each observation."""

    def adapt(self, stream: Stream) -> Stream:
        """The stream that gives what :meth:`Encoder.encode` takes; the trainer calls it once.

        Raises:
            UnsupportedError: the stream cannot.
        """
        ...


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
    """How the learning rate changes over a budget."""

    def __call__(self, update: int, updates: int) -> float:
        """
        Args:
            update: the one about to be made, from 0.
            updates: how many there are in all, at least 1.

        Returns:
            The factor of the optimizer's own rate, at least 0.
        """
        ...
