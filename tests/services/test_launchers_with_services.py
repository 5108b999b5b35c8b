"""The contract of launchers, for those that need services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from launcher_contract import *  # noqa: F403

from rlcl.config import build, component
from rlcl.types import Launcher

SETTINGS = {"ray": {"type": "ray"}, "slurm": {"type": "slurm"}, "slurm locally": {"type": "slurm", "cluster": "local"}}


@pytest.fixture(scope="module", params=SETTINGS.values(), ids=SETTINGS)
def launcher(request: pytest.FixtureRequest) -> Iterator[Launcher]:
    settings: dict[str, Any] = request.param
    if settings == SETTINGS["slurm"]:
        request.getfixturevalue("slurm")
    made = build(component("launcher", settings))
    yield made
    made.close()
