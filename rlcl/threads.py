"""Number of threads of torch and of NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

__all__ = ["preserved_threads", "set_threads"]


def set_threads(count: int) -> None:
    """Set the number of threads of torch, and of the matrix products of NumPy and SciPy, in this process.

    By default, the BLAS library of NumPy starts one thread per core, also for products that take microseconds. If other
    processes use the cores, such a product waits for a thread that is not scheduled, up to 100 times its own duration.
    """
    torch.set_num_threads(count)
    threadpool_limits(limits=count, user_api="blas")


@contextmanager
def preserved_threads() -> Iterator[None]:
    """Restore the numbers of threads of torch and NumPy on exit."""
    threads = torch.get_num_threads()
    with threadpool_limits(limits=None):
        try:
            yield
        finally:
            torch.set_num_threads(threads)
