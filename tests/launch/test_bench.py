"""Grids: what is run and what is not, and what becomes of cells that crash, hang or are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from rlcl.commands import main
from rlcl.errors import ConfigError, RunFolderError
from rlcl.launch import bench
from rlcl.launch.bench import run_suite
from rlcl.launch.board import Lines, LiveTable
from rlcl.launch.grid import CellState, Grid
from rlcl.launch.launcher import Ended, Job
from rlcl.launch.local import run_seed
from rlcl.launch.processes import Processes, slots_for
from rlcl.launch.suite import Suite, load_suite
from rlcl.tracking.folder import read_json

QUIET = Console(quiet=True)

# A learner that does what a file beside it says: what goes wrong the first time can be mended for the second.
LEARNER = """
import json
import os
import signal
import sys
import time
from pathlib import Path

import attrs
import torch

from rlcl.types import Event, Position

HERE = Path(__file__).parent


class Odd:
    measures = ("accuracy",)
    resumable_within = False

    def __init__(self, does: str = "learn") -> None:
        self.does, self.position = does, Position()

    def prepare(self, setup) -> None:
        if self.does == "refuse":
            raise ValueError("it refuses")

    def learn(self, experience):
        self.position.learning = True
        tame = (HERE / "tame").exists()
        heavy = [name for name in ("avalanche", "stable_baselines3", "torchvision") if name in sys.modules]
        seen = {"heavy": heavy, "threads": torch.get_num_threads(), "omp": os.environ["OMP_NUM_THREADS"]}
        (HERE / f"seen-{self.does}.json").write_text(json.dumps(seen))
        if self.does == "raise" and not tame:
            print("about to raise")
            raise RuntimeError("it broke")
        if self.does == "die" and not tame:
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.does == "linger" and not tame:
            for _ in range(6000):
                time.sleep(0.01)
                yield None
        if self.does == "hang" and not tame:
            time.sleep(60)
        self.position.step += 1
        self.position.experience += 1
        self.position.learning = False
        yield Event(self.position.step, {"loss": 0.5})

    def predict(self, x, task_id=None, state=None):
        return torch.zeros(len(x), dtype=torch.long), None

    def state_dict(self):
        return {"position": attrs.asdict(self.position)}

    def load_state_dict(self, state):
        self.position = Position(**state["position"])
"""

ODD = """
name: odd
base:
  stream: {type: class_incremental, data: {type: digits}, experiences: 2}
  learner: {type: "odd.py:Odd"}
  budget: {epochs: 1}
sweep:
  learner.does: DOES
"""

SLOW = """
name: slow
base:
  stream: {type: class_incremental, data: {type: digits}, experiences: 2}
  learner:
    type: classifier
    network: {type: mlp, hidden: [32], dropout: 0.3}
    batch_size: 8
    methods: [{type: rehearsal, capacity: 100, batch_size: 8}]
  budget: {epochs: 10}
  event_interval: 10
seeds: 2
"""


class Silent:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []

    def show(self, grid: Grid, changed: CellState | None = None) -> None:
        if changed is not None:
            self.shown.append((changed.cell.learner, changed.state))


def odd(folder: Path, *does: str) -> Suite:
    (folder / "odd.py").write_text(LEARNER)
    (folder / "odd.yaml").write_text(ODD.replace("DOES", f"[{', '.join(does)}]"))
    return load_suite(folder / "odd.yaml")


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    """One server for all tests here: its start takes seconds."""
    launcher = Processes(2)
    yield launcher
    launcher.close()


def states(grid: Grid) -> dict[str, tuple[str, int | None]]:
    return {state.cell.learner: (state.state, state.status) for state in grid.states}


# What real processes do.


def test_what_crashes_ends_alone_and_the_next_call_runs_only_that(tmp_path: Path, processes: Processes) -> None:
    suite = odd(tmp_path, "learn", "raise", "die", "other")
    grid = run_suite(suite, processes, Silent(), tmp_path)
    assert {
        "learn": ("finished", 0),
        "raise": ("failed", 1),
        "die": ("failed", -signal.SIGSEGV),
        "other": ("finished", 0),
    } == states(grid)
    told = {state.cell.learner: state.told for state in grid.states}
    assert "raised RuntimeError: it broke" in told["raise"][0]
    assert "exit status 1" == told["raise"][-1]
    assert "killed by SIGSEGV" == told["die"][-1]
    assert "about to raise" in grid.log(suite.cells[1]).read_text()
    finished = grid.folder / suite.cells[0].run / "records.jsonl"
    before = finished.stat().st_mtime_ns

    (tmp_path / "tame").touch()
    view = Silent()
    again = run_suite(suite, processes, view, tmp_path)
    assert {("finished", 0)} == set(states(again).values())
    assert [("die", "finished"), ("raise", "finished")] == sorted(s for s in view.shown if s[1] == "finished")
    assert before == finished.stat().st_mtime_ns
    kept = read_json(grid.folder / "suite.json")
    assert ["finished"] * 4 == [row["state"] for row in kept["cells"]]
    assert {"learner.does": ["learn", "raise", "die", "other"]} == kept["axes"]
    assert {"learner.does": "die"} == kept["cells"][2]["labels"]


def test_a_cell_imports_no_library_that_it_does_not_use(tmp_path: Path, processes: Processes) -> None:
    run_suite(odd(tmp_path, "learn"), processes, Silent(), tmp_path)
    assert {"heavy": [], "threads": 1, "omp": "1"} == json.loads((tmp_path / "seen-learn.json").read_text())


def test_a_cell_has_the_records_that_the_run_alone_would_have(tmp_path: Path, processes: Processes) -> None:
    (tmp_path / "slow.yaml").write_text(SLOW)
    suite = load_suite(tmp_path / "slow.yaml", ["base.budget={updates: 20}", "seeds=[3]"])
    run_suite(suite, processes, Silent(), tmp_path / "grid")
    (cell,) = suite.cells
    alone = run_seed(cell.experiment, 3, tmp_path / "alone", QUIET)
    in_grid = tmp_path / "grid" / "slow" / cell.run
    assert (alone.path / "records.jsonl").read_text() == (in_grid / "records.jsonl").read_text()
    tensors = [max((path / "checkpoints").iterdir()) / "tensors.safetensors" for path in (alone.path, in_grid)]
    assert tensors[0].read_bytes() == tensors[1].read_bytes()
    assert "experience 2/2" in (tmp_path / "grid" / "slow" / "logs" / f"{cell.experiment.hash}-seed3.txt").read_text()


def test_a_cell_that_takes_too_long_saves_a_checkpoint_or_is_killed(
    tmp_path: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "GRACE_SECONDS", 0.5)
    suite = odd(tmp_path, "linger", "hang")
    grid = run_suite(suite, processes, Silent(), tmp_path, timeout=3)
    assert {
        "linger": ("timed out", 128 + signal.SIGTERM),
        "hang": ("timed out", -signal.SIGKILL),
    } == states(grid), grid.states[0].told
    assert "stopped by SIGTERM" in grid.states[0].told[0]
    assert "interrupted" == read_json(grid.folder / suite.cells[0].run / "status.json")["state"]
    (tmp_path / "tame").touch()
    assert {("finished", 0)} == set(states(run_suite(suite, processes, Silent(), tmp_path)).values())


def test_all_cells_that_cannot_be_built_are_told_before_any_runs(tmp_path: Path, processes: Processes) -> None:
    (tmp_path / "wrong.yaml").write_text(
        "name: wrong\nbase:\n  stream: {type: class_incremental}\n  learner: {type: classifier}\n"
        "  budget: {epochs: 1}\nsweep:\n  learner.methods: [[], [{type: packnet}], [{type: xdg}]]\n"
        "  validation: [0, 0.1]\n"
    )
    suite = load_suite(tmp_path / "wrong.yaml")
    with pytest.raises(ConfigError) as found:
        run_suite(suite, processes, Silent(), tmp_path)
    beginnings = [problem.partition(": learner.methods[0]: ")[0].split("/")[-1] for problem in found.value.problems]
    names = ["packnet, 0", "packnet, 0.1", "xdg, 0", "xdg, 0.1"]
    assert [f"wrong.yaml: cell {name}" for name in names] == beginnings
    assert not list((tmp_path / "wrong").glob("*/seed*"))


def test_the_death_of_the_server_is_the_end_of_its_jobs_alone(tmp_path: Path) -> None:
    launcher = Processes(2)
    try:
        suite = odd(tmp_path, "linger", "learn")
        linger, learn = (
            Job(name=cell.run, experiment=cell.experiment, seed=0, root=tmp_path, log=tmp_path / "log")
            for cell in suite.cells
        )
        launcher.start(linger)
        wait_for(tmp_path / "seen-linger.json")
        pid = launcher._running[linger.name]
        assert launcher._server is not None
        launcher._server.kill()
        assert [Ended(linger.name, -signal.SIGKILL)] == list(launcher.ended(10))
        wait_until_gone(pid)
        launcher.start(learn)
        assert [Ended(learn.name, 0)] == list(launcher.ended(60))
    finally:
        launcher.close()


# The command line, with signals.


def start(config: Path, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rlcl", "bench", str(config), "--root", str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path: Path, seconds: float = 60) -> None:
    """Until a file is there and not empty."""
    until = time.monotonic() + seconds
    while not path.is_file() or not path.stat().st_size:
        assert time.monotonic() < until, f"no {path}"
        time.sleep(0.01)


def wait_until_gone(pid: int, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < until, f"{pid} lives"
        time.sleep(0.01)


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
    printed, _ = process.communicate(timeout=60)
    assert 130 == process.returncode, printed
    assert "slow/seed0  failed" in printed
    assert "killed by SIGKILL, as the system does where memory runs out" in printed
    assert "stopped by SIGINT; the same command goes on with" in printed
    assert "Traceback" not in printed
    assert ["failed", "interrupted"] == [
        row["state"] for row in read_json(folders[0].parents[1] / "suite.json")["cells"]
    ]

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
    with grid.locked(), pytest.raises(RunFolderError, match="another process works on"), grid.locked():
        pass


# The command line, without processes.


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
    assert "420" in printed


# What needs no process at all.


class Pretended:
    """A launcher whose jobs end in the order they were started, each after the next has been asked for."""

    def __init__(self, slots: int) -> None:
        self.slots, self.tape, self.running = slots, [], []  # type: ignore[var-annotated]

    def start(self, job: Job) -> None:
        if job.work == "run":
            self.tape.append(f"start {job.experiment.validation:g}")
        self.running.append(job)

    def stop(self, name: str, at_once: bool = False) -> None:
        self.tape.append(f"stop{' at once' if at_once else ''}")

    def ended(self, seconds: float) -> Sequence[Ended]:
        job = self.running.pop(0)
        if job.work == "run":
            self.tape.append(f"end {job.experiment.validation:g}")
        return [Ended(job.name, 0)]

    def close(self) -> None: ...


def test_no_more_jobs_run_at_once_than_there_are_slots(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(LEARNER)
    (tmp_path / "odd.yaml").write_text(ODD.replace("learner.does: DOES", "validation: [0.1, 0.2, 0.3]"))
    launcher = Pretended(2)
    run_suite(load_suite(tmp_path / "odd.yaml"), launcher, Silent(), tmp_path)
    assert ["start 0.1", "start 0.2", "end 0.1", "start 0.3", "end 0.2", "end 0.3"] == launcher.tape


@pytest.mark.parametrize(
    ("workers", "threads", "available", "slots"),
    [(None, 1, 8, 8), (3, 1, 8, 3), (20, 1, 8, 8), (None, 4, 8, 2), (None, 3, 8, 2), (4, 2, 4, 2), (None, 16, 8, 1)],
)
def test_processes_have_no_more_threads_than_there_are_cores(
    workers: int | None, threads: int, available: int, slots: int
) -> None:
    assert slots == slots_for(workers, threads, available)


def grid_of_two(folder: Path) -> Grid:
    grid = Grid(odd(folder, "learn", "raise"), folder)
    grid.states[0].state, grid.states[0].seconds = "finished", 2.0
    grid.states[1].state, grid.states[1].told = "failed", ("rlcl: [odd] broke", "exit status 1")
    return grid


def test_lines_tell_each_end_and_why(tmp_path: Path) -> None:
    console = Console(record=True, width=40, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
    board = Lines(console)
    grid = grid_of_two(tmp_path)
    for state in grid.states:
        board.show(grid, state)
    console.file.close()
    assert [
        "2/2  learn/seed0  finished  in 2.0 s",
        "2/2  raise/seed0  failed  in 0.0 s  rlcl: [odd] broke; exit status 1",
    ] == console.export_text().splitlines()


def test_a_terminal_shows_what_runs_and_what_failed(tmp_path: Path) -> None:
    grid = grid_of_two(tmp_path)
    grid.states[0].state = "running"
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=80, force_terminal=True, file=nowhere)
        with LiveTable(console) as board:
            board.show(grid, grid.states[0])
            console.print(board._table(grid))
    printed = console.export_text()
    assert "odd  1 running, 1 failed" in printed
    assert "running  learn/seed0  1 s" in printed
    assert "failed   raise/seed0  rlcl: [odd] broke; exit status 1" in printed
