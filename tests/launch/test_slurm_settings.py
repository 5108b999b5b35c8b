"""Settings of the launcher for Slurm that can be checked without it."""

from __future__ import annotations

import re

import pytest

from rlcl.config import build, component
from rlcl.errors import ConfigError
from rlcl.types import Launcher


def built(**settings: int) -> Launcher:
    launcher: Launcher = build(component("launcher", {"type": "slurm", **settings}), ("launcher",))
    return launcher


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"minutes": 2}, "set it to at most 60, or minutes to at least 3"),
        ({"minutes": 1, "signal_seconds": 1}, "set minutes to at least 2"),
        ({"minutes": 60, "signal_seconds": 3541}, "set it to at most 3540, or minutes to at least 61"),
    ],
)
def test_a_signal_cannot_arrive_before_the_job_is_ready(settings: dict[str, int], remedy: str) -> None:
    with pytest.raises(ConfigError, match=rf"launcher\.signal_seconds: \d+ with minutes: \d+; .*{re.escape(remedy)}"):
        built(**settings)


@pytest.mark.parametrize("settings", [{}, {"minutes": 3}, {"minutes": 2, "signal_seconds": 60}])
def test_a_limit_that_is_longer_by_a_minute_is_accepted(settings: dict[str, int]) -> None:
    built(**settings).close()
