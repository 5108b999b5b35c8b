"""Several processes that run one suite at the same time, also when one of them dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import cast

import attrs
import pytest
from grids import SLOW, Silent, odd, wait_for

from rlcl.commands import main
from rlcl.launch.launchers.processes import Processes
from rlcl.lock import Holder
from rlcl.study import job_queue
from rlcl.study.claims import Session, other_sessions
from rlcl.study.grid import Grid
from rlcl.study.job_queue import CellQueue
from rlcl.study.suite import load_suite
from rlcl.study.suite_runner import run_suite
from rlcl.tracking.json_files import read_json


def start(config: Path, root: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rlcl", "bench", str(config), "--root", str(root), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_two_processes_divide_a_suite_and_one_finishes_what_the_other_leaves(tmp_path: Path) -> None:
    suite, root = odd(tmp_path, "linger", "learn"), tmp_path / "runs"
    linger, learn = (root / "odd" / cell.run for cell in suite.cells)
    first = start(tmp_path / "odd.yaml", root, "--workers", "1")
    wait_for(tmp_path / "seen-linger.json")
    second = start(tmp_path / "odd.yaml", root, "--workers", "1")
    wait_for(learn / "summary.json")
    assert "running" == read_json(linger / "status.json")["state"]
    assert 3 <= len(list((root / "odd" / "claims").iterdir()))  # two sessions, and the claim of the first
    worker = read_json(linger / "status.json")["pid"]
    (tmp_path / "tame").touch()
    first.kill()  # its cell ends
    first.communicate()
    printed, _ = second.communicate(timeout=120)
    assert 0 == second.returncode, printed
    assert "2 finished" in printed
    assert worker != read_json(linger / "status.json")["pid"]
    assert 2 == len(read_json(linger / "manifest.json")["sessions"])
    assert 1 == len(read_json(learn / "manifest.json")["sessions"])
    assert not (root / "odd" / "claims").exists()


def test_what_another_process_finishes_or_fails_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_queue, "ELSEWHERE_SECONDS", 0.1)
    suite = odd(tmp_path, "raise", "learn")
    others, launcher = [Silent(), Silent()], Processes(processes=1)
    try:
        grid = Grid(suite, tmp_path)
        with grid.session() as session:
            assert not session.claim(suite.cells[0].file_name)
            assert not session.claim(suite.cells[1].file_name)
            done: list[Grid] = []
            waiting = threading.Thread(target=lambda: done.append(run_suite(suite, launcher, others[0], tmp_path)))
            waiting.start()
            until = time.monotonic() + 60
            while len(others[0].shown) < 2 and time.monotonic() < until:
                time.sleep(0.05)
            assert [("raise", "running"), ("learn", "running")] == others[0].shown
            for index in (0, 1):
                state = grid.states[index]
                state.state, state.status, state.messages = "failed", 1, ("it broke elsewhere",)
                grid.write_outcome(state)
                session.release(state.cell.file_name)
            waiting.join(60)
        assert [("failed", ("it broke elsewhere",))] * 2 == [(s.state, s.messages) for s in done[0].states]
        assert not list(tmp_path.glob("seen-*.json"))  # nothing was run
        again = run_suite(suite, launcher, Silent(), tmp_path)  # but the next call runs it
        assert ["failed", "finished"] == [state.state for state in again.states]
    finally:
        launcher.close()


def test_a_machine_without_work_asks_for_few_cells_of_others_at_ever_longer_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(job_queue.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(Grid, "refresh", lambda self, state: None)
    suite = odd(tmp_path, "raise", "learn")
    cells = [attrs.evolve(suite.cells[0], seed=seed) for seed in range(500)]
    grid = Grid(attrs.evolve(suite, cells=tuple(cells)), tmp_path)
    held, asked = {cell.file_name for cell in cells}, []

    class Others:
        def claim(self, name: str) -> str:
            asked.append(name)
            return "process 1" if name in held else ""

        def release(self, name: str) -> None: ...

    queue = CellQueue(grid, cast(Session, Others()), grid.states, lambda state: None)
    assert queue.take() is None
    assert 500 == len(asked)  # each once
    for _ in range(6000):  # ten minutes, ten times a second
        clock[0] += 0.1
        assert queue.take() is None
    assert 8 * 40 <= len(asked) - 500 <= 8 * 45  # every 15 s, eight cells
    held.clear()
    clock[0] += 15
    taken = [job.name for job in iter(queue.take, None)]
    assert 500 == len(set(taken))  # without another wait


def test_a_run_in_use_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_queue, "ELSEWHERE_SECONDS", 0.1)
    suite = odd(tmp_path, "learn")
    lock = tmp_path / "odd" / suite.cells[0].run / "lock.json"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps(attrs.asdict(Holder.this_process())))
    launcher, view = Processes(processes=1), Silent()
    try:
        done: list[Grid] = []
        waiting = threading.Thread(target=lambda: done.append(run_suite(suite, launcher, view, tmp_path)))
        waiting.start()
        log = Grid(suite, tmp_path).log(suite.cells[0])
        until = time.monotonic() + 60
        while not log.is_file() or f"another process ({os.getpid()}) works on" not in log.read_text():
            assert time.monotonic() < until
            time.sleep(0.01)
        assert not done
        lock.unlink()
        waiting.join(60)
        assert ["finished"] == [state.state for state in done[0].states]
        assert "failed" not in {state for _, state in view.shown}
    finally:
        launcher.close()


def test_the_claims_of_a_session_end_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    with closing(Session(folder)) as a, closing(Session(folder)) as b:
        assert 2 == other_sessions(folder)
        assert "" == a.claim("cell") == a.claim("cell")
        assert f"process {os.getpid()}" == b.claim("cell")
        a.release("cell")
        assert "" == b.claim("cell")
        assert f"process {os.getpid()}" == a.claim("cell")
    assert not folder.exists()
    code = "import pathlib, sys, os; from rlcl.study.claims import Session\n"
    code += "Session(pathlib.Path(sys.argv[1])).claim('cell'); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)  # as one that is killed
    assert 2 == len(list(folder.iterdir()))
    with closing(Session(folder)) as session:
        assert "" == session.claim("cell")
    assert not folder.exists()


def test_a_session_that_slept_too_long_gets_new_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLCL_LEASE_SECONDS", "0.5")
    session = Session(tmp_path)
    assert "" == session.claim("a")
    session._lock.path.unlink()  # another process has removed what seemed to be left over
    time.sleep(0.4)
    with closing(Session(tmp_path)) as other:
        assert "" == other.claim("a")
        assert f"process {os.getpid()}" == session.claim("a")
        assert "" == session.claim("b")
    session.close()


@pytest.mark.parametrize(
    ("shard", "names"),
    [("1/2", ["learn/seed0", "learn/seed2"]), ("2/2", ["learn/seed1"]), ("3/3", ["learn/seed2"]), ("1/1", None)],
)
def test_a_shard_is_every_nth_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shard: str, names: list[str] | None
) -> None:
    odd(tmp_path, "learn")
    root = ["--root", str(tmp_path), "--dry-run", "--shard", shard]
    with pytest.raises(SystemExit) as ended:
        main(["bench", str(tmp_path / "odd.yaml"), "seeds=3", *root])
    assert ended.value.code in (0, None)
    printed = capsys.readouterr().out
    listed = [line.split("  ")[0] for line in printed.splitlines()[1:-1]]
    assert (names or ["learn/seed0", "learn/seed1", "learn/seed2"]) == listed


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2"])
def test_a_shard_that_cannot_be_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], shard: str) -> None:
    odd(tmp_path, "learn")
    with pytest.raises(SystemExit) as ended:
        main(["bench", str(tmp_path / "odd.yaml"), "--root", str(tmp_path), f"--shard={shard}"])
    assert 2 == ended.value.code
    assert f"--shard: expected K/N with 1 <= K <= N, such as 2/8, got '{shard}'" in capsys.readouterr().err


def test_a_worker_killed_by_the_system_is_repeated_from_its_checkpoint_by_the_next_call(tmp_path: Path) -> None:
    config, root = tmp_path / "slow.yaml", tmp_path / "runs"
    config.write_text(SLOW)
    (cell,) = load_suite(config, ["seeds=1"]).cells
    folder = root / "slow" / cell.run
    process = start(config, root, "seeds=1")
    wait_for(folder / "events.jsonl")
    os.kill(read_json(folder / "status.json")["pid"], signal.SIGKILL)
    process.communicate(timeout=60)
    assert 1 == process.returncode
    assert (folder / "lock.json").is_file()  # of a process that has ended: the next call ignores it
    process = start(config, root, "seeds=1")
    printed, _ = process.communicate(timeout=60)
    assert 0 == process.returncode, printed
    assert not (folder / "lock.json").exists()
