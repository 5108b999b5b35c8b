"""Where inputs are kept: in memory, or on disk, from which they are read as they are needed."""

from __future__ import annotations

import logging
from typing import Literal, Protocol, runtime_checkable

import psutil
import torch
from torch import Tensor

__all__ = ["Rows", "Storage", "streams"]

Storage = Literal["auto", "memory", "stream"]


SHARE = 0.5  # of the memory that is free now, that inputs may take
ENCODED_BYTES = 4  # float32: the experience in progress is held encoded beside the raw inputs

logger = logging.getLogger(__name__)


@runtime_checkable
class Rows(Protocol):
    """Inputs on disk, used like a tensor's rows."""

    @property
    def shape(self) -> torch.Size:
        """(N, *observation)."""
        ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def workers(self) -> int:
        """Processes that read minibatches of them."""
        ...

    @property
    def identity(self) -> str:
        """What tells them from other rows without reading them: names and sizes of files."""
        ...

    def __len__(self) -> int: ...

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Reads rows (B,) int64, in that order; ``dim`` is 0."""
        ...


def streams(name: str, storage: Storage, values: int, value_bytes: int) -> bool:
    """Whether to leave inputs on disk; says so where it is its own choice.

    Args:
        name: of the data set, for the message.
        storage: what the config asks for.
        values: numbers in all inputs together.
        value_bytes: of each.
    """
    if storage != "auto":
        return storage == "stream"
    needed, free = values * (value_bytes + ENCODED_BYTES), psutil.virtual_memory().available
    if needed <= SHARE * free:
        return False
    logger.warning(
        "data %s would take %s of the %s of memory that are free: it is read from disk as it is needed (storage: "
        "stream); set storage: memory to load it",
        name,
        _gigabytes(needed),
        _gigabytes(free),
    )
    return True


def _gigabytes(amount: int) -> str:
    return f"{amount / 2**30:,.1f} GiB"
