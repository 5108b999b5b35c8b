"""The contract of the sinks that need no services, and of those of the guide."""

from __future__ import annotations

from pathlib import Path

import pytest
from guides import shown_file
from sink_contract import *  # noqa: F403

from rlcl.registry import entries

GUIDE = {"Remind": "remind.py", "CurveFile": "curve_file.py"}
TRACKERS = {"mlflow", "wandb", "trackio"}  # tests/services tries these


@pytest.fixture(params=[*(name for name in entries("sink") if name not in TRACKERS), *GUIDE])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A sink as a config names it."""
    if request.param not in GUIDE:
        return str(request.param)
    return f"{shown_file('add-a-sink.md', GUIDE[request.param], tmp_path)}:{request.param}"
