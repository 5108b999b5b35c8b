"""Threads of torch and of NumPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from rlcl.experiment import experiment_from
from rlcl.launch.build import make_trainer
from rlcl.threads import preserved_threads, set_threads


@pytest.fixture
def several() -> Iterator[None]:
    """A process whose matrix products use several threads."""
    before = torch.get_num_threads()
    with threadpool_limits(limits=2, user_api="blas"):
        yield
    torch.set_num_threads(before)


def blas_threads() -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.usefixtures("several")
def test_torch_and_numpy_have_the_same_number_of_threads() -> None:
    set_threads(1)
    assert {1} == blas_threads()
    assert 1 == torch.get_num_threads()


@pytest.mark.usefixtures("several")
def test_the_numbers_of_threads_are_restored() -> None:
    torch_threads, before = torch.get_num_threads(), blas_threads()
    with preserved_threads():
        set_threads(1)
        assert {1} == blas_threads()
    assert (torch_threads, before) == (torch.get_num_threads(), blas_threads())


@pytest.mark.usefixtures("several")
def test_a_run_uses_the_threads_of_its_config() -> None:
    stream = {"type": "environments", "env": "Pendulum-v1"}
    config = {"name": "x", "stream": stream, "learner": {"type": "td3"}, "budget": {"env_steps": 9}}
    make_trainer(experiment_from(config), 0)
    assert {1} == blas_threads()
