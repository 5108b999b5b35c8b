"""Grids: what is run and what is not, and what becomes of cells that crash, hang or cannot be built."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from grids import LEARNER, ODD, SLOW, Silent, odd, wait_for, wait_until_gone
from rich.console import Console

from rlcl.config import unstructure
from rlcl.errors import ConfigError
from rlcl.launch.launchers.processes import Processes, slots_for
from rlcl.launch.seeds import run_seed
from rlcl.study import suite_runner
from rlcl.study.grid import Grid
from rlcl.study.suite import load_suite
from rlcl.study.suite_runner import run_suite
from rlcl.tracking.json_files import read_json
from rlcl.types import Capacity, Ended, Job, Started

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    """One server for all tests here: its start takes seconds."""
    launcher = Processes(processes=2)
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
    told = {state.cell.learner: state.messages for state in grid.states}
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
    assert not (grid.folder / "claims").exists()
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
    monkeypatch.setattr(suite_runner, "GRACE_SECONDS", 0.5)
    suite = odd(tmp_path, "linger", "hang")
    grid = run_suite(suite, processes, Silent(), tmp_path, timeout=3)
    assert {
        "linger": ("timed out", 128 + signal.SIGTERM),
        "hang": ("timed out", -signal.SIGKILL),
    } == states(grid), grid.states[0].messages
    assert "stopped by SIGTERM" in grid.states[0].messages[0]
    for state in grid.states:  # and nothing that reads like a lack of memory
        assert state.messages[-1].startswith("stopped after ")
        assert state.messages[-1].endswith(" s, its --timeout")
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
    launcher = Processes(processes=2)
    try:
        suite = odd(tmp_path, "linger", "learn")
        linger, learn = (
            Job(name=cell.run, config=unstructure(cell.experiment), seed=0, root=tmp_path, log=tmp_path / "log")
            for cell in suite.cells
        )
        launcher.start(linger)
        wait_for(tmp_path / "seen-linger.json")
        assert [Started(linger.name)] == list(launcher.reports(10))
        pid = launcher._running[linger.name]
        assert launcher._server is not None
        launcher._server.kill()
        assert [Ended(linger.name, -signal.SIGKILL)] == list(launcher.reports(10))
        wait_until_gone(pid)
        launcher.start(learn)
        assert [Started(learn.name)] == list(launcher.reports(60))
        assert [Ended(learn.name, 0)] == list(launcher.reports(60))
    finally:
        launcher.close()


class Pretended:
    """A launcher whose jobs end in the order they were started, each after the next has been asked for."""

    def __init__(self, slots: int) -> None:
        self.slots, self.tape, self.running = slots, [], []  # type: ignore[var-annotated]

    def capacity(self, threads: int) -> Capacity:
        return Capacity(self.slots, "pretended")

    def start(self, job: Job) -> None:
        if job.work == "run":
            self.tape.append(f"start {job.config['validation']:g}")
        self.running.append(job)

    def stop(self, name: str, at_once: bool = False) -> None:
        self.tape.append(f"stop{' at once' if at_once else ''}")

    def reports(self, seconds: float) -> Sequence[Started | Ended]:
        job = self.running.pop(0)
        if job.work == "run":
            self.tape.append(f"end {job.config['validation']:g}")
        return [Started(job.name), Ended(job.name, 0)]

    def close(self) -> None: ...


def test_no_more_jobs_run_at_once_than_there_are_slots(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(LEARNER)
    (tmp_path / "odd.yaml").write_text(ODD.replace("learner.does: DOES", "validation: [0.1, 0.2, 0.3]"))
    launcher = Pretended(2)
    run_suite(load_suite(tmp_path / "odd.yaml"), launcher, Silent(), tmp_path)
    assert ["start 0.1", "start 0.2", "end 0.1", "start 0.3", "end 0.2", "end 0.3"] == launcher.tape
    again = Pretended(2)
    run_suite(load_suite(tmp_path / "odd.yaml"), again, Silent(), tmp_path / "again", workers=1)
    assert ["start 0.1", "end 0.1", "start 0.2", "end 0.2", "start 0.3", "end 0.3"] == again.tape


@pytest.mark.parametrize(
    ("processes", "threads", "available", "slots"),
    [(None, 1, 8, 8), (3, 1, 8, 3), (20, 1, 8, 8), (None, 4, 8, 2), (None, 3, 8, 2), (4, 2, 4, 2), (None, 16, 8, 1)],
)
def test_processes_have_no_more_threads_than_there_are_cores(
    processes: int | None, threads: int, available: int, slots: int
) -> None:
    assert slots == slots_for(processes, threads, available)


def test_each_cell_sees_its_own_gpu(tmp_path: Path) -> None:
    launcher = Processes(devices=("cuda:3", "cuda:5"))
    (cell,) = odd(tmp_path, "learn").cells
    config = {**unstructure(cell.experiment), "device": "cuda"}

    def job(name: str, **changes: object) -> Job:
        return Job(name=name, config={**config, **changes}, seed=0, root=tmp_path, log=tmp_path / "log")

    assert launcher.capacity(1).slots <= 2
    assert launcher.capacity(1).text.endswith(", on cuda:3, cuda:5")
    seen = [launcher._environment(job(name))["CUDA_VISIBLE_DEVICES"] for name in ("a", "b")]
    assert ["3", "5"] == seen
    launcher._running["a"] = 1
    launcher._parse_report({"ended": "a", "status": 0})
    assert {"CUDA_VISIBLE_DEVICES": "3"} == launcher._environment(job("c"))
    for device in ("cpu", "cuda:1"):
        with pytest.raises(
            ConfigError, match=rf"launcher\.devices: a cell has device: {device}; set its device to cuda"
        ):
            launcher.start(job("d", device=device))


def test_a_job_gets_environment_variables(
    tmp_path: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Processes, "_environment", lambda self, job: {"OMP_NUM_THREADS": "7"})
    run_suite(odd(tmp_path, "learn"), processes, Silent(), tmp_path)
    assert "7" == json.loads((tmp_path / "seen-learn.json").read_text())["omp"]
