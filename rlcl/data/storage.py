"""Choice of the storage of inputs: in memory, or on disk and read on demand."""

from __future__ import annotations

import logging
from typing import Literal

import psutil

__all__ = ["Storage", "should_stream"]

Storage = Literal["auto", "memory", "stream"]


SHARE = 0.5  # maximum share of the free memory for inputs
ENCODED_BYTES = 4  # float32: the encoded inputs of the experience in progress are in memory, too

logger = logging.getLogger(__name__)


def should_stream(name: str, storage: Storage, values: int, value_bytes: int) -> bool:
    """Decide whether to leave inputs on disk; log a warning if ``auto`` chooses the disk.

    Args:
        name: name of the data set, for the message.
        storage: setting in the config.
        values: number of values in all inputs.
        value_bytes: size of one value in bytes.
    """
    if storage != "auto":
        return storage == "stream"
    needed, free = values * (value_bytes + ENCODED_BYTES), psutil.virtual_memory().available
    if needed <= SHARE * free:
        return False
    logger.warning(
        "data %s would take %s of the %s of free memory; it is read from disk on demand (storage: stream); set "
        "storage: memory to load it",
        name,
        _gigabytes(needed),
        _gigabytes(free),
    )
    return True


def _gigabytes(amount: int) -> str:
    return f"{amount / 2**30:,.1f} GiB"
