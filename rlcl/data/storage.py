"""Where inputs are kept: in memory, or on disk, from which they are read as they are needed."""

from __future__ import annotations

import logging
from typing import Literal

import psutil

__all__ = ["Storage", "streams"]

Storage = Literal["auto", "memory", "stream"]


SHARE = 0.5  # of the memory that is free now, that inputs may take
ENCODED_BYTES = 4  # float32: the experience in progress is held encoded beside the raw inputs

logger = logging.getLogger(__name__)


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
