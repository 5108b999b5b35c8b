"""Twin critics of learners with continuous actions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.learners.fast.twin_networks import SeparateTwins, StackedTwins, make_twins
from rlcl.networks.check_forward import check_forward
from rlcl.networks.mlp import Mlp
from rlcl.networks.task_ids import takes_task_ids
from rlcl.types import Network

__all__ = ["ImageCritic", "build_twin_critics", "critic_inputs"]

IMAGE_FEATURES = 256  # features of an image, and hidden units of each of the two following layers


def build_twin_critics(network: Network, shape: tuple[int, ...], dims: int, tasks: int) -> StackedTwins | SeparateTwins:
    """Build two critics with separate initial weights, whose inputs are :func:`critic_inputs`.

    If the network does not support flat inputs, it reads the observation only (:class:`ImageCritic`).

    Args:
        network: factory of the network of each critic.
        shape: shape of one encoded observation.
        dims: number of dimensions of an action.
        tasks: number of tasks whose ids are visible, at least 1; 0 if task ids are hidden.
    """
    heads, count = tasks > 0, max(tasks, 1)
    width = math.prod(shape) + dims
    try:
        return make_twins(
            [check_forward(network.build((width,), 1, count), network, (width,), 1, heads) for _ in range(2)]
        )
    except UnsupportedError:
        if len(shape) == 1:
            raise
        return make_twins(
            [
                ImageCritic(
                    check_forward(network.build(shape, IMAGE_FEATURES, count), network, shape, IMAGE_FEATURES, heads),
                    shape,
                    width,
                )
                for _ in range(2)
            ]
        )


def critic_inputs(observations: Tensor, actions: Tensor) -> Tensor:
    """Concatenate flattened observations and actions to the inputs (B, in) of critics."""
    return torch.cat((observations.flatten(1), actions), 1)


class ImageCritic(nn.Module):
    """A critic that extracts features of an image, and evaluates these features together with the action.

    Args:
        features: maps (B, *shape) to (B, IMAGE_FEATURES).
        shape: shape of one observation.
        width: number of inputs, of observation and action.
    """

    def __init__(self, features: nn.Module, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        # The attributes eye and judge are keys of saved weights.
        self.eye, self._shape, self._pixels = features, shape, math.prod(shape)
        self.judge = Mlp(hidden=(IMAGE_FEATURES, IMAGE_FEATURES)).build((IMAGE_FEATURES + width - self._pixels,), 1)

    @property
    def takes_task_ids(self) -> bool:
        """See :func:`rlcl.networks.task_ids.takes_task_ids`."""
        return takes_task_ids(self.eye)

    def forward(self, x: Tensor, *task_ids: Tensor) -> Tensor:
        """Return values (B, 1) of inputs (B, in)."""
        features = self.eye(x[:, : self._pixels].reshape(-1, *self._shape), *task_ids).relu()
        values: Tensor = self.judge(torch.cat((features, x[:, self._pixels :]), 1))
        return values
