"""The contract of the launchers that need no services, and of that of the guide."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from guides import shown_file
from launcher_contract import *  # noqa: F403

from rlcl.config import build, component
from rlcl.registry import entries
from rlcl.types import Launcher

GUIDE = {"Polite": "polite.py"}
SERVICES = {"ray", "slurm"}  # tests/services tries these


@pytest.fixture(scope="module", params=[*(name for name in entries("launcher") if name not in SERVICES), *GUIDE])
def launcher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    name = str(request.param)
    if name in GUIDE:
        name = f"{shown_file('add-a-launcher.md', GUIDE[name], tmp_path_factory.mktemp('own'))}:{name}"
    made = build(component("launcher", name))
    yield made
    made.close()
