"""What every launcher keeps to; a module that defines the fixture ``launcher`` imports these tests."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from grids import SLOW, odd, wait_until_gone
from rich.console import Console

from rlcl.config import unstructure
from rlcl.launch.seeds import run_seed
from rlcl.study.suite import SuiteCell, load_suite
from rlcl.tracking.json_files import read_json
from rlcl.types import Ended, Job, Launcher, Started

QUIET = Console(quiet=True)
# How a job ends that was asked to: after a checkpoint, or before it could note the signal.
STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)
SECONDS = 120.0  # that a test waits for jobs at most


def job(cell: SuiteCell, root: Path, name: str, work: str = "run") -> Job:
    config = unstructure(cell.experiment)
    return Job(name=name, work=work, config=config, seed=cell.seed, root=root, log=root / f"{name}.txt")  # type: ignore[arg-type]


def heard(launcher: Launcher, count: int) -> tuple[dict[str, int], list[str]]:
    """The statuses of the next jobs that end, and the names of all that start and end in order."""
    statuses: dict[str, int] = {}
    order: list[str] = []
    until = time.monotonic() + SECONDS
    while len(statuses) < count:
        assert time.monotonic() < until, order
        for report in launcher.reports(1.0):
            order.append(f"{type(report).__name__} {report.name}")
            if isinstance(report, Ended):
                statuses[report.name] = report.status
            else:
                assert isinstance(report, Started)
    return statuses, order


def wait_beside(launcher: Launcher, path: Path) -> None:
    """Until a job that runs has written a file; the reports are asked for, as a grid does all the time."""
    until = time.monotonic() + SECONDS
    while not path.is_file() or not path.stat().st_size:
        assert time.monotonic() < until, f"no {path}"
        assert not [report for report in launcher.reports(0.1) if isinstance(report, Ended)]


def test_there_is_room_for_a_job_of_any_number_of_threads(launcher: Launcher) -> None:
    assert all(launcher.capacity(threads).slots >= 1 for threads in (1, 2, 1000))
    assert launcher.capacity(1).text


def test_jobs_run_beside_each_other_and_crash_alone(launcher: Launcher, tmp_path: Path) -> None:
    names = ["learn", "raise", "die"]
    for cell, name in zip(odd(tmp_path, *names).cells, names, strict=True):
        launcher.start(job(cell, tmp_path, name))
    statuses, order = heard(launcher, 3)
    assert {"learn": 0, "raise": 1, "die": -signal.SIGSEGV} == statuses
    assert all(order.index(f"Started {name}") < order.index(f"Ended {name}") for name in names)
    log = (tmp_path / "raise.txt").read_text()
    assert "about to raise" in log
    assert "rlcl: " in log
    assert "it broke" in log


def test_a_check_builds_everything_and_writes_nothing(launcher: Launcher, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for cell, name in zip(odd(tmp_path, "learn", "refuse").cells, ("good", "wrong"), strict=True):
        launcher.start(job(cell, root, name, "check"))
    statuses, _ = heard(launcher, 2)
    assert 0 == statuses["good"]
    assert statuses["wrong"] > 0
    assert "it refuses" in (root / "wrong.txt").read_text()
    assert not [path for path in root.iterdir() if path.is_dir()]


def test_a_job_that_is_stopped_goes_on_with_the_records_of_one_that_ran_through(
    launcher: Launcher, tmp_path: Path
) -> None:
    (tmp_path / "slow.yaml").write_text(SLOW)
    (cell,) = load_suite(tmp_path / "slow.yaml", ["seeds=1", "base.budget.epochs=20"]).cells
    asked = job(cell, tmp_path, "slow")
    folder = tmp_path / "slow" / cell.run
    launcher.start(asked)
    wait_beside(launcher, folder / "events.jsonl")
    launcher.stop("slow")
    statuses, _ = heard(launcher, 1)
    assert statuses["slow"] in STOPPED
    assert "interrupted" == read_json(folder / "status.json")["state"]
    launcher.start(asked)
    assert {"slow": 0} == heard(launcher, 1)[0]
    assert "resuming " in asked.log.read_text()
    alone = run_seed(cell.experiment, cell.seed, tmp_path / "alone", QUIET)
    assert (alone.path / "records.jsonl").read_bytes() == (folder / "records.jsonl").read_bytes()


def test_a_job_ends_at_once_where_it_must_and_all_where_the_launcher_closes(launcher: Launcher, tmp_path: Path) -> None:
    cells = odd(tmp_path, "hang", "linger").cells
    for cell, name in zip(cells, ("hang", "linger"), strict=True):
        launcher.start(job(cell, tmp_path, name))
        wait_beside(launcher, tmp_path / f"seen-{name}.json")
    launcher.stop("nobody")
    launcher.stop("hang", at_once=True)
    assert {"hang": -signal.SIGKILL} == heard(launcher, 1)[0]
    launcher.stop("hang")
    pid = read_json(tmp_path / "odd" / cells[1].run / "status.json")["pid"]
    launcher.close()
    wait_until_gone(pid)
