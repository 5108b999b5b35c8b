"""Which runs are listed, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_folders import write_run

from rlcl.errors import Problem, RunFolderError
from rlcl.tracking.runs import Run, find_runs
from rlcl.tracking.selection import ordered, selected


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, ...]:
    write_run(tmp_path, "a/1/seed0", {"return.average": 20.0})
    write_run(tmp_path, "b/1/seed0", {"return.average": 9.0}, learner="dqn", lr=0.01)
    write_run(tmp_path, "c/1/seed0", None, learner="sac", state="failed", error="DivergenceError: NaN")
    return find_runs(tmp_path)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], "abc"),
        (["learner.type=ppo"], "a"),
        (["learner.type == ?qn"], "b"),
        (["learner.type!=ppo"], "bc"),
        (["learner.methods.type=ewc"], "abc"),
        (["learner.methods.type!=ewc"], ""),
        (["return.average>9"], "a"),
        (["return.average>=9"], "ab"),
        (["return.average<20", "learner.lr<=1e-2"], "b"),
        (["learner.lr=1e-3"], "ac"),
        (["state=failed"], "c"),
        (["run=b/*"], "b"),
        (["error=*NaN"], "c"),
    ],
)
def test_conditions_select(runs: tuple[Run, ...], conditions: list[str], expected: str) -> None:
    assert expected == "".join(run.name[0] for run in selected(runs, conditions))


def test_numbers_are_sorted_as_numbers_and_what_has_none_comes_last(runs: tuple[Run, ...]) -> None:
    assert "bac" == "".join(run.name[0] for run in ordered(runs, "return.average"))
    assert "abc" == "".join(run.name[0] for run in ordered(runs, "return.average", reverse=True))
    assert "bac" == "".join(run.name[0] for run in ordered(runs, "learner.type"))


def test_a_condition_that_cannot_be_read_is_refused(runs: tuple[Run, ...]) -> None:
    with pytest.raises(Problem, match="expected KEY=VALUE"):
        selected(runs, ["learner.type"])
    with pytest.raises(Problem, match="compares numbers, and 'ppo' is none"):
        selected(runs, ["learner.type>ppo"])
    with pytest.raises(RunFolderError, match=r"did you mean return\.average"):
        selected(runs, ["return.averag>1"])
