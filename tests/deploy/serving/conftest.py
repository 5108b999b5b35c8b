"""One server for all tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from server_harness import RunningServer, classifier, counter, serving

from rlcl.deploy.client import Client


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    bundle = classifier(tmp_path_factory.mktemp("bundles") / "larger")
    with serving(bundle, "--max-rows", "8", "--max-body", "20000", "--timeout", "1") as started:
        yield started


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(counter(tmp_path_factory.mktemp("bundles") / "counter")) as started:
        yield started


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.url) as made:
        yield made
