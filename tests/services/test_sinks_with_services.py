"""The contract of the sinks that copy runs to trackers."""

from __future__ import annotations

from pathlib import Path

import pytest
from sink_contract import *  # noqa: F403


@pytest.fixture(params=["mlflow", "wandb", "trackio"])
def name(request: pytest.FixtureRequest, tracker_folder: Path) -> str:
    pytest.importorskip(request.param)
    return str(request.param)
