"""Which runs are listed, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_folders import write_run

from rlcl.errors import Problem, RunFolderError
from rlcl.tracking.runs import StoredRun, find_runs
from rlcl.tracking.selection import select_runs, sort_runs


@pytest.fixture
def runs(tmp_path: Path) -> tuple[StoredRun, ...]:
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
def test_conditions_select(runs: tuple[StoredRun, ...], conditions: list[str], expected: str) -> None:
    assert expected == "".join(run.name[0] for run in select_runs(runs, conditions))


def names(runs: tuple[StoredRun, ...]) -> str:
    return "".join(run.name[0] for run in runs)


def test_numbers_are_sorted_as_numbers_and_what_has_none_comes_last(runs: tuple[StoredRun, ...]) -> None:
    assert "acb" == names(sort_runs(runs, "learner.lr"))
    assert "bac" == names(sort_runs(runs, "learner.lr", reverse=True))
    assert "bac" == names(sort_runs(runs, "learner.type"))


def test_of_a_metric_the_best_comes_first(tmp_path: Path) -> None:
    for name, values in {"a": (20.0, 0.3), "b": (9.0, 0.1)}.items():
        found = dict(zip(("return.average", "forgetting.chaudhry"), values, strict=True))
        write_run(tmp_path, f"{name}/1/seed0", found)
    write_run(tmp_path, "c/1/seed0", None, state="failed")
    runs = find_runs(tmp_path)
    assert "abc" == names(sort_runs(runs, "return.average"))
    assert "bac" == names(sort_runs(runs, "return.average", reverse=True))
    assert "bac" == names(sort_runs(runs, "forgetting.chaudhry"))


def test_a_condition_that_cannot_be_read_is_refused(runs: tuple[StoredRun, ...]) -> None:
    with pytest.raises(Problem, match="expected KEY=VALUE"):
        select_runs(runs, ["learner.type"])
    with pytest.raises(Problem, match="> requires a number, got 'ppo'"):
        select_runs(runs, ["learner.type>ppo"])
    with pytest.raises(RunFolderError, match=r"did you mean return\.average"):
        select_runs(runs, ["return.averag>1"])
