"""What all tests share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One thread is fastest for small networks, and the number of threads changes the last bits."""
    torch.set_num_threads(1)
