"""A few cases of each kind, the same ones always; the rest is ``make fuzz``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness import acting_learners

TESTS = Path(__file__).parents[1]


def fuzz(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "fuzz", "--folder", str(folder), *arguments]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=280, check=False
    )


def test_every_learner_that_acts_is_tried() -> None:
    from fuzz.worlds import LEARNERS

    assert acting_learners() == {learner["type"] for learner in LEARNERS}


@pytest.mark.timeout(300)  # all kinds in one process, which imports everything once
def test_no_case_of_the_sample_ends_in_a_traceback(tmp_path: Path) -> None:
    ended = fuzz(tmp_path, "--fixed-sample", "--output", str(tmp_path / "found.json"))
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "found.json").read_text())["kinds"]
    assert {"configs", "run_folders", "data_files", "requests"} <= found.keys()
    assert all(row["cases"] > 10 and row["failed"] == 0 for row in found.values())


BROKEN = """
import sys
from pathlib import Path
from fuzz import __main__ as fuzz
from fuzz.kind import Kind
import os, time

class Broken(Kind):
    name = "broken"
    seconds = 1.0
    def take(self, case):
        case.tried.append(f"case {case.seed}")
        if case.seed == 1: raise ZeroDivisionError("by zero")
        if case.seed == 2: os.kill(os.getpid(), 9)
        if case.seed == 3: time.sleep(60)
        return "passed"

row = fuzz._row(Broken(), 0, 0, 6, 2, Path(sys.argv[1]))
assert row["outcomes"] == {"died": 1, "failed": 1, "hung": 1, "passed": 3}, row
"""


def test_what_fails_dies_or_hangs_is_counted_kept_and_repeated_by_its_seed(tmp_path: Path) -> None:
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, "-c", BROKEN, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert "make fuzz ARGS='--kind broken --repeat 1'" in ended.stdout
    kept = (tmp_path / "failures" / "broken-1.txt").read_text()
    assert "case 1" in kept
    assert "ZeroDivisionError: by zero" in kept
