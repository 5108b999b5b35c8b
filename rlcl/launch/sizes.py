"""A run that needs more memory than there is: which setting asks for it, and for how much."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rlcl.config import unstructure
from rlcl.errors import ConfigError, RlclError
from rlcl.experiment import Experiment

__all__ = ["memory_told"]

LARGE = 10_000  # the smallest number that is worth naming
TIMES = ("seeds", "budget", "evaluation", "event_interval", "threads")  # that no memory depends on
TOLD = re.compile(
    r"not enough memory|can't allocate memory|out of memory|calculation overflowed|multiplication overflow|"
    r"array is too big|maximum allowed dimension|exceeds the maximum|too large to convert|dimensions? .*too large|"
    r"[Ii]nvalid size|numel .*overflow",
    re.IGNORECASE,
)
ASKED = re.compile(r"(?:tried to|[Uu]nable to|[Tt]ried to) allocate (\d+(?:\.\d*)?) (bytes|\w?iB)")


@contextmanager
def memory_told(experiment: Experiment) -> Iterator[None]:
    """Turns a refused allocation into an error that names the largest number of a config.

    Raises:
        ConfigError: the config asks for something large.
        RlclError: it does not, and memory is short all the same.
    """
    try:
        yield
    except (MemoryError, OverflowError, RuntimeError, ValueError) as error:
        if not isinstance(error, MemoryError) and TOLD.search(str(error)) is None:
            raise
        raise _told(error, experiment) from error


def _told(error: Exception, experiment: Experiment) -> RlclError:
    asked = ASKED.search(str(error))
    needed = f"{asked[1]} {asked[2]} at once" if asked else "more than can be counted"
    if asked and asked[2] == "bytes":
        needed = f"{int(asked[1]) / 2**30:,.1f} GiB at once"
    has = f"this machine has {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:,.1f} GiB"
    config = {key: value for key, value in unstructure(experiment).items() if key not in TIMES}
    key, value = max(_numbers(config, ""), key=lambda pair: pair[1], default=("", 0))
    if value < LARGE:
        return RlclError(
            f"memory is short: {needed} was asked for, and {has}; end other processes, or take smaller networks, "
            "batches or memories"
        )
    return ConfigError([f"{key}: {value:,} needs too much memory: {needed}, and {has}; choose a smaller number"])


def _numbers(node: Any, path: str) -> Iterator[tuple[str, int]]:
    """Whole numbers of a config by their key paths."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _numbers(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _numbers(value, f"{path}[{index}]")
    elif isinstance(node, int) and not isinstance(node, bool):
        yield path, node
