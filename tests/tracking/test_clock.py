"""The time of a run, over sessions and experiences."""

from __future__ import annotations

import pytest

from rlcl.tracking import clock as module
from rlcl.tracking.clock import Clock, ElapsedTime


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[ElapsedTime]:
    """What the next looks at the clock will show."""
    shown: list[ElapsedTime] = []
    monkeypatch.setattr(module, "_now", lambda: shown.pop(0))
    return shown


def test_laps_add_up_to_the_total(now: list[ElapsedTime]) -> None:
    now += [ElapsedTime(100, 10), ElapsedTime(103, 11), ElapsedTime(110, 15), ElapsedTime(111, 15.5)]
    clock = Clock()
    clock._started = module._now()
    assert ElapsedTime(3, 1) == clock.lap()
    assert ElapsedTime(7, 4) == clock.lap()
    assert ElapsedTime(11, 5.5) == clock.total


def test_a_resumed_run_adds_its_sessions_within_an_experience_too(now: list[ElapsedTime]) -> None:
    first = Clock()
    now += [ElapsedTime(0, 0), ElapsedTime(4, 2), ElapsedTime(6, 3)]
    first._started = module._now()
    first.lap()
    state = first.state_dict()  # 2 s into the second experience, of which the process had 1
    again = Clock()
    now += [ElapsedTime(1000, 50), ElapsedTime(1005, 54)]
    again.load_state_dict(state)
    assert ElapsedTime(2 + 5, 1 + 4) == again.lap()
    now.append(ElapsedTime(1005, 54))
    assert ElapsedTime(11, 7) == again.total


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
