"""Locks of one process at a time, which outlive no process, and which other machines judge by their heartbeat."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import attrs
import pytest

from rlcl.lock import Holder, LockHeldError, LockLostError, Watch, acquire, is_held, locked

HOLD = (
    "import sys, pathlib; from rlcl.lock import locked\n"
    "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock.json"


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setenv("RLCL_LEASE_SECONDS", "1")
    return 1.0


def write_holder(path: Path, **changes: object) -> None:
    """Write a lock of this process with some changes, as another machine would."""
    path.write_text(json.dumps({**attrs.asdict(Holder.this_process()), **changes}))


def test_a_second_one_learns_who_holds_it(path: Path) -> None:
    with locked(path):
        with pytest.raises(LockHeldError) as raised, locked(path):
            pass
        assert str(os.getpid()) == raised.value.holder
        with locked(path.with_name("other")):
            pass
    with locked(path):
        pass
    assert not path.exists()


def test_the_lock_of_a_killed_process_is_free_at_once(path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert "held\n" == other.stdout.readline()
        with pytest.raises(LockHeldError) as raised, locked(path):
            pass
        assert str(other.pid) == raised.value.holder
        other.kill()
        while Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        assert not is_held(path)  # also before its parent has waited for it
        other.wait()
        start = time.monotonic()
        with locked(path):
            assert time.monotonic() - start < 1
            assert [path] == list(path.parent.iterdir())


def test_a_process_with_the_number_of_an_ended_one_does_not_hold_its_lock(path: Path) -> None:
    write_holder(path, start=Holder.this_process().start - 1)
    assert not is_held(path)
    with locked(path):
        pass


@pytest.mark.usefixtures("short_lease")
def test_a_machine_without_a_heartbeat_loses_its_lock_after_a_lease(path: Path) -> None:
    write_holder(path, machine="another boot", host="node7", pid=5)
    start = time.monotonic()
    with locked(path):
        assert 1 <= time.monotonic() - start < 3


@pytest.mark.usefixtures("short_lease")
def test_a_machine_whose_heart_beats_keeps_its_lock_whatever_its_clock_shows(path: Path) -> None:
    write_holder(path, machine="another boot", host="node7", pid=5)
    ended = threading.Event()

    def beat() -> None:
        seconds = 1_000_000.0  # 1970
        while not ended.wait(0.1):
            seconds += 0.1
            os.utime(path, (seconds, seconds))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        start = time.monotonic()
        with pytest.raises(LockHeldError, match="held by process 5 on node7"), locked(path):
            pass
        assert time.monotonic() - start < 1  # one beat suffices
        watch = Watch()
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            with pytest.raises(LockHeldError):
                acquire(path, watch)
            time.sleep(0.05)
    finally:
        ended.set()
        thread.join(10)


@pytest.mark.usefixtures("short_lease")
def test_who_was_suspended_too_long_notices_that_the_lock_is_lost(path: Path) -> None:
    with locked(path) as lock:
        lock.check()
        lock.confirm()
        write_holder(path, id="0123", machine="another boot")  # took over
        with pytest.raises(LockLostError, match="taken over by another process"):
            lock.check()
        with pytest.raises(LockLostError):
            lock.confirm()
    assert "0123" == json.loads(path.read_text())["id"]  # and does not remove it


@pytest.mark.usefixtures("short_lease")
def test_the_heartbeat_notices_it_too(path: Path) -> None:
    with locked(path) as lock:
        path.unlink()
        time.sleep(0.6)
        with pytest.raises(LockLostError):
            lock.confirm()


def test_only_one_of_many_takes_over(path: Path) -> None:
    """Threads that find the lock of an ended process at the same time."""
    for _ in range(20):
        write_holder(path, start=1)
        barrier, winners = threading.Barrier(8), []

        def take(barrier: threading.Barrier = barrier, winners: list[str] = winners) -> None:
            barrier.wait()
            with suppress(LockHeldError):
                winners.append(acquire(path, Watch()).holder.id)

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [json.loads(path.read_text())["id"]] == winners
        assert [path] == list(path.parent.iterdir())


def test_locks_with_a_common_heartbeat_end_with_it(tmp_path: Path) -> None:
    session, claim = tmp_path / "session.json", tmp_path / "claim.json"
    write_holder(session, machine="another boot", host="node7")
    write_holder(claim, machine="another boot", host="node7", heartbeat="session.json")
    assert is_held(claim)
    with pytest.raises(LockHeldError, match="on node7"):
        acquire(claim, Watch())
    session.unlink()
    assert not is_held(claim)
    acquire(claim, Watch()).release()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12",
        "{}",
        '{"id": "../x", "pid": 1}',
        '{"id": "x", "pid": "1"}',
        '{"id": "x", "pid": -1}',
        '{"id": "x", "pid": 1, "heartbeat": "../y"}',
        '{"id": "x", "pid": 1, "more": 1}',
    ],
)
def test_the_holder_of_a_damaged_file_is_unknown_and_judged_by_its_heartbeat(path: Path, text: str) -> None:
    path.write_text(text)
    assert is_held(path)
    with pytest.raises(LockHeldError, match="held by process unknown"):
        acquire(path, Watch())
    os.utime(path, (1, 1))
    assert not is_held(path)


def test_a_link_to_nowhere_is_an_error(path: Path) -> None:
    path.symlink_to("nowhere")
    with pytest.raises(OSError, match="does not exist"), locked(path):
        pass


def test_one_that_waits_gets_it_afterwards(tmp_path: Path) -> None:
    tape: list[str] = []

    def second() -> None:
        with locked(tmp_path / "lock.json", wait=True):
            tape.append("second")

    with locked(tmp_path / "lock.json", wait=True):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        tape.append("first")
    thread.join(10)
    assert ["first", "second"] == tape
    assert [] == list(tmp_path.iterdir())


def test_looking_at_a_lock_makes_and_changes_nothing(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    assert [] == list(tmp_path.iterdir())
    with locked(tmp_path / "lock"):
        assert is_held(tmp_path / "lock")
        assert os.getpid() == json.loads((tmp_path / "lock").read_text())["pid"]
    assert not is_held(tmp_path / "lock")
