"""The processes of a data-parallel run, which ``torchrun`` starts, and their communication."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import frozen

from rlcl.errors import RlclError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ProcessGroup", "ProcessGroupError", "joined", "membership", "process_group"]

TIMEOUT = timedelta(hours=24)  # process 0 writes files while the others wait; torchrun ends all if one fails


class ProcessGroupError(RlclError):
    """The error that another process of a run does not answer."""


@frozen(eq=False)
class ProcessGroup:
    """The processes that train one learner together. Each function must be called by all of them, in the same order.

    Args:
        rank: index of this process; process 0 writes the run.
        size: number of processes.
        local_rank: index of this process among those of its machine, and of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def add(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all processes.

        Raises:
            ProcessGroupError: another process has ended.
        """
        import torch.distributed as dist

        with _explained():
            dist.all_reduce(tensor)

    def maximum(self, *values: int) -> list[int]:
        """Return the maximum of each value over all processes.

        Raises:
            ProcessGroupError: another process has ended.
        """
        import torch
        import torch.distributed as dist

        tensor = torch.tensor(values, dtype=torch.int64)
        with _explained():
            dist.all_reduce(tensor, dist.ReduceOp.MAX)
        maxima: list[int] = tensor.tolist()
        return maxima

    def broadcast(self, content: bytes = b"") -> bytes:
        """Return the content that process 0 passed.

        Raises:
            ProcessGroupError: another process has ended.
        """
        import torch
        import torch.distributed as dist

        with _explained():
            length = torch.tensor([len(content)])
            dist.broadcast(length, 0)
            if not int(length):
                return b""
            buffer = torch.empty(int(length), dtype=torch.uint8)
            if self.rank == 0:
                buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8)
            dist.broadcast(buffer, 0)
        return buffer.numpy().tobytes()

    def dismiss(self) -> None:
        """Tell the other processes that process 0 leads no further run."""
        if self.size > 1:
            self.broadcast()


@contextmanager
def _explained() -> Iterator[None]:
    """Replace the error of torch about a lost connection."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessGroupError("another process of this run has ended; read its error") from error


ALONE = ProcessGroup()
_current: ContextVar[ProcessGroup] = ContextVar("process_group", default=ALONE)


def process_group() -> ProcessGroup:
    """Return the processes that train together with this one; it is alone outside of :func:`joined`."""
    return _current.get()


@contextmanager
def membership(group: ProcessGroup) -> Iterator[None]:
    """Make :func:`process_group` return a group within the context."""
    token = _current.set(group)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def joined() -> Iterator[ProcessGroup]:
    """Join the processes that ``torchrun`` started; without torchrun, this process is alone."""
    size = int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if size == 1:
        yield process_group()
        return
    import torch
    import torch.distributed as dist

    gpu = torch.cuda.is_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=TIMEOUT)
    group = ProcessGroup(dist.get_rank(), size, int(os.environ["LOCAL_RANK"]))
    try:
        with membership(group):
            yield group
    finally:
        dist.destroy_process_group()
