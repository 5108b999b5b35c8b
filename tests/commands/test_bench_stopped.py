"""``rlcl bench`` as a user calls it, stops it and kills it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from grids import SLOW, odd, wait_for, wait_until_gone
from rich.console import Console

from rlcl.commands import main
from rlcl.errors import RunFolderError
from rlcl.launch.seeds import run_seed
from rlcl.study.grid import Grid
from rlcl.study.suite import load_suite
from rlcl.tracking.json_files import read_json

QUIET = Console(quiet=True)


def start(config: Path, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rlcl", "bench", str(config), "--root", str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def killed(folder: Path) -> None:
    """Ends the process that works on a run, as the system does where memory runs out."""
    os.kill(read_json(folder / "status.json")["pid"], signal.SIGKILL)


def test_a_killed_worker_and_ctrl_c_leave_a_grid_that_goes_on(tmp_path: Path) -> None:
    config = tmp_path / "slow.yaml"
    config.write_text(SLOW)
    suite = load_suite(config)
    folders = [tmp_path / "runs" / "slow" / cell.run for cell in suite.cells]
    process = start(config, tmp_path / "runs")
    wait_for(folders[0] / "events.jsonl")
    killed(folders[0])
    wait_for(folders[1] / "events.jsonl")
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=100)
    assert 130 == process.returncode, printed
    assert "slow/seed0  failed" in printed
    assert "killed by SIGKILL (possibly out of memory)" in printed
    assert "stopped by SIGINT; run the same command to resume" in printed
    assert "Traceback" not in printed
    assert ["failed", "interrupted"] == [state.state for state in Grid(suite, tmp_path / "runs").states]

    process = start(config, tmp_path / "runs")
    printed, _ = process.communicate(timeout=120)
    assert 0 == process.returncode, printed
    assert "2 finished" in printed
    for seed, folder in enumerate(folders):
        alone = run_seed(suite.cells[0].experiment, seed, tmp_path / "alone", QUIET)
        assert (alone.path / "records.jsonl").read_text() == (folder / "records.jsonl").read_text()


def test_cells_save_a_checkpoint_where_the_grid_itself_is_killed(tmp_path: Path) -> None:
    config = tmp_path / "slow.yaml"
    config.write_text(SLOW)
    cell = load_suite(config, ["seeds=1", "base.budget.epochs=300"]).cells[0]
    command = [sys.executable, "-m", "rlcl", "bench", str(config), "seeds=1", "base.budget.epochs=300"]
    process = subprocess.Popen([*command, "--root", str(tmp_path)], stdout=subprocess.DEVNULL)
    folder = tmp_path / "slow" / cell.run
    wait_for(folder / "events.jsonl")
    pid = read_json(folder / "status.json")["pid"]
    process.kill()
    process.wait()
    wait_until_gone(pid)
    assert "interrupted" == read_json(folder / "status.json")["state"]
    grid = Grid(load_suite(config, ["seeds=1", "base.budget.epochs=300"]), tmp_path)
    assert ["interrupted"] == [state.state for state in grid.states]
    other = Grid(load_suite(config, ["seeds=2", "base.budget.epochs=300"]), tmp_path)
    with grid.session(), pytest.raises(RunFolderError, match=r"another process runs other cells in"), other.session():
        pass


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status and everything printed."""
    with pytest.raises(SystemExit) as ended:
        main(["bench", *map(str, arguments)])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


def test_a_dry_run_lists_the_cells_that_a_pattern_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd(tmp_path, "learn", "raise")
    arguments = (tmp_path / "odd.yaml", "seeds=2", "--dry-run", "--root", tmp_path / "runs")
    status, printed = call(capsys, *arguments, "--only", "rai*")
    assert 0 == status
    lines = printed.splitlines()
    assert [["raise/seed0", "missing"], ["raise/seed1", "missing"]] == [line.split()[:2] for line in lines[1:3]]
    assert "2 cells" == lines[3]
    assert not (tmp_path / "runs").exists()
    status, printed = call(capsys, *arguments, "--only", "rais")
    assert (2, "rlcl: --only rais: no cell of that name; did you mean raise?\n") == (status, printed)


def test_bad_input_is_one_message_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd(tmp_path, "learn")
    status, printed = call(capsys, tmp_path / "odd.yaml", "--budget", "smoke")
    assert (2, 1) == (status, printed.count("\n"))
    assert "budgets: no budget 'smoke'; this suite has none" in printed


def test_without_a_suite_those_that_ship_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = call(capsys)
    assert 0 == status
    assert "split-digits" in printed
    assert "440" in printed
