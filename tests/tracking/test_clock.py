"""The time of a run, over sessions and experiences."""

from __future__ import annotations

import pytest

from rlcl.tracking import clock as module
from rlcl.tracking.clock import Clock, Time


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[Time]:
    """What the next looks at the clock will show."""
    shown: list[Time] = []
    monkeypatch.setattr(module, "_now", lambda: shown.pop(0))
    return shown


def test_laps_add_up_to_the_total(now: list[Time]) -> None:
    now += [Time(100, 10), Time(103, 11), Time(110, 15), Time(111, 15.5)]
    clock = Clock()
    clock._started = module._now()
    assert Time(3, 1) == clock.lap()
    assert Time(7, 4) == clock.lap()
    assert Time(11, 5.5) == clock.total


def test_a_resumed_run_adds_its_sessions_within_an_experience_too(now: list[Time]) -> None:
    first = Clock()
    now += [Time(0, 0), Time(4, 2), Time(6, 3)]
    first._started = module._now()
    first.lap()
    state = first.state_dict()  # 2 s into the second experience, of which the process had 1
    again = Clock()
    now += [Time(1000, 50), Time(1005, 54)]
    again.load_state_dict(state)
    assert Time(2 + 5, 1 + 4) == again.lap()
    now.append(Time(1005, 54))
    assert Time(11, 7) == again.total


def test_the_peak_is_that_of_the_session_that_needed_most(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = {"now": 70}
    monkeypatch.setattr(module, "peak_bytes", lambda: peaks["now"])
    state = Clock().state_dict()
    again = Clock()
    again.load_state_dict(state)
    peaks["now"] = 30
    assert 70 == again.peak
    peaks["now"] = 90
    assert 90 == again.peak
    again.load_state_dict({key: value for key, value in state.items() if key != "peak"})  # of an older checkpoint
    assert 90 == again.peak
