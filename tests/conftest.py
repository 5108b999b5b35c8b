"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

pytest.register_assert_rewrite("launcher_contract")

# `make services` installs what these need.
collect_ignore = [] if os.environ.get("RLCL_SERVICES") else ["services"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One thread is fastest for small networks, and the number of threads changes the last bits."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def logs_of_plain_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where a plain model of Stable-Baselines3, without a logger of its own, makes a folder for each ``learn``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SB3_LOGDIR", str(tmp_path_factory.mktemp("sb3")))
        yield
