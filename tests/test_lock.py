"""A lock is one process's, tells whose, and outlives nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rlcl.lock import LockHeldError, is_held, locked

HOLD = (
    "import sys, pathlib; from rlcl.lock import locked\n"
    "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
)


def test_a_second_one_is_told_who_holds_it(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"):
        with pytest.raises(LockHeldError) as raised, locked(tmp_path / "lock"):
            pass
        assert str(os.getpid()) == raised.value.holder
        with locked(tmp_path / "other"):
            pass
    with locked(tmp_path / "lock"):
        pass


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert "held\n" == other.stdout.readline()
        with pytest.raises(LockHeldError) as raised, locked(tmp_path / "lock"):
            pass
        assert str(other.pid) == raised.value.holder
        other.kill()
        other.wait()
        with locked(tmp_path / "lock"):
            pass


def test_one_that_waits_gets_it_afterwards(tmp_path: Path) -> None:
    tape: list[str] = []

    def second() -> None:
        with locked(tmp_path, wait=True):
            tape.append("second")

    with locked(tmp_path, wait=True):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        tape.append("first")
    thread.join(10)
    assert ["first", "second"] == tape
    assert [] == list(tmp_path.iterdir())  # a folder is its own lock


def test_a_file_without_a_number_is_held_by_nobody_known(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"):
        (tmp_path / "lock").write_text("")
        with pytest.raises(LockHeldError, match="held by process unknown"), locked(tmp_path / "lock"):
            pass


def test_looking_at_a_lock_makes_and_changes_nothing(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    assert [] == list(tmp_path.iterdir())
    with locked(tmp_path / "lock"):
        assert is_held(tmp_path / "lock")
        assert str(os.getpid()) == (tmp_path / "lock").read_text()
    assert not is_held(tmp_path / "lock")


def test_who_only_looks_does_not_keep_others_off(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    ended = threading.Event()

    def looking() -> None:
        while not ended.is_set():
            is_held(tmp_path / "lock")

    thread = threading.Thread(target=looking)
    thread.start()
    for _ in range(20):
        with locked(tmp_path / "lock"):
            pass
    ended.set()
    thread.join(10)
