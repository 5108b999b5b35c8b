"""Error messages for failed allocations that name the setting that needs the memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rlcl.config import unstructure
from rlcl.errors import ConfigError, RlclError
from rlcl.experiment import Experiment

__all__ = ["memory_errors"]

LARGE = 10_000  # the smallest setting that may be the cause
IGNORED_KEYS = ("seeds", "budget", "evaluation", "event_interval", "threads")  # memory does not depend on them
MEMORY_MESSAGE = re.compile(
    r"not enough memory|can't allocate memory|out of memory|calculation overflowed|multiplication overflow|"
    r"array is too big|maximum allowed dimension|exceeds the maximum|too large to convert|dimensions? .*too large|"
    r"invalid size|numel .*overflow",
    re.IGNORECASE,
)
ALLOCATION = re.compile(r"(?:tried to|[Uu]nable to|[Tt]ried to) allocate (\d+(?:\.\d*)?) (bytes|\w?iB)")


@contextmanager
def memory_errors(experiment: Experiment) -> Iterator[None]:
    """Turn a failed allocation into an error that names the largest number of a config.

    Raises:
        ConfigError: an allocation failed, and the config contains a large number.
        RlclError: an allocation failed, but no number of the config is large.
    """
    try:
        yield
    except (MemoryError, OverflowError, RuntimeError, ValueError) as error:
        if not isinstance(error, MemoryError) and MEMORY_MESSAGE.search(str(error)) is None:
            raise
        raise _explained_error(error, experiment) from error


def _explained_error(error: Exception, experiment: Experiment) -> RlclError:
    allocation = ALLOCATION.search(str(error))
    requested = f"{allocation[1]} {allocation[2]} at once" if allocation else "more than can be counted"
    if allocation and allocation[2] == "bytes":
        requested = f"{int(allocation[1]) / 2**30:,.1f} GiB at once"
    available = f"this machine has {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:,.1f} GiB"
    config = {key: value for key, value in unstructure(experiment).items() if key not in IGNORED_KEYS}
    key, value = max(_integers(config, ""), key=lambda pair: pair[1], default=("", 0))
    if value < LARGE:
        return RlclError(
            f"not enough memory: {requested} was requested, and {available}; end other processes, or use smaller "
            "networks, batches or replay buffers"
        )
    return ConfigError(
        [f"{key}: {value:,} needs too much memory: {requested}, and {available}; choose a smaller number"]
    )


def _integers(node: Any, path: str) -> Iterator[tuple[str, int]]:
    """Yield the key path and the value of each integer in a config."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _integers(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _integers(value, f"{path}[{index}]")
    elif isinstance(node, int) and not isinstance(node, bool):
        yield path, node
