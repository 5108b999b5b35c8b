"""One-hot encoding of the task id, appended to vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define, field
from torch import Tensor

from rlcl.errors import UnsupportedError
from rlcl.types import Encoder, Stream, TaskIds

__all__ = ["TaskOneHot"]


@define(eq=False)
class TaskOneHot(Encoder):
    """One-hot encoding of the task id, appended to inputs that are vectors.

    The stream must show task ids in training and at evaluation (``visibility: {task_ids: visible}``). In a list it must
    be the last encoder, except for ``running_norm``.

    Source: Wolczyk et al. 2021, Continual World, section 4.1.
    """

    _tasks: int = field(init=False, default=0)

    def adapt(self, stream: Stream) -> Stream:
        """Read the number of tasks from the stream; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: the stream hides task ids, or has none.
        """
        if stream.visibility.task_ids != "visible":
            raise UnsupportedError(
                "encoder task_one_hot encodes the task id, and this stream hides it in training or at evaluation; set "
                "stream.visibility.task_ids: visible"
            )
        ids = [e.task_id for e in (*stream, *stream.evaluated) if e.task_id is not None]
        if not ids:
            raise UnsupportedError("encoder task_one_hot encodes the task id, and this stream has none; remove it")
        self._tasks = max(ids) + 1
        return stream

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(observation_shape) != 1:
            raise UnsupportedError(
                f"encoder task_one_hot appends to vectors, got inputs of shape {observation_shape}; put flatten before "
                "it, or use the network multihead"
            )
        return (observation_shape[0] + self._tasks,)

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        if task_id is None:
            raise UnsupportedError("encoder task_one_hot needs the task id of each input")
        # Of the rows of x, whose number is not constant in an exported graph.
        ids = task_id if isinstance(task_id, Tensor) else torch.full_like(x[:, 0], task_id, dtype=torch.int64)
        codes = F.one_hot(ids.to(x.device), self._tasks).to(torch.float32)
        return torch.cat((x.to(torch.float32), codes), 1)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
