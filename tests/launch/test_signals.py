"""Signals that stop a run: the first one is stored, and only a second Ctrl-C ends the process at once."""

from __future__ import annotations

import os
import signal

import pytest

from rlcl.launch.signals import catch_signals


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_cluster_may_send_sigterm_twice(first: signal.Signals) -> None:
    with catch_signals() as stop:
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), signal.SIGTERM)
        assert first == stop.signum
        with pytest.raises(SystemExit) as ended:
            os.kill(os.getpid(), signal.SIGINT)
        assert 130 == ended.value.code
