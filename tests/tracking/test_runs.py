"""An index of run folders: what it finds, what it says of damaged ones, and what keys stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_folders import write_run

from rlcl.errors import RunFolderError
from rlcl.lock import locked
from rlcl.tracking.runs import check_key, dotted_keys, find_runs, named_runs, runs_at, state_of


def test_runs_are_found_at_any_depth_in_the_order_of_their_seeds(tmp_path: Path) -> None:
    for name in ("b/1/seed10", "b/1/seed2", "suite/runs/a/2/seed0", "a/3/seed0"):
        write_run(tmp_path, name, {})
    (tmp_path / "b" / "1" / "seed2" / "checkpoints" / "seed7").mkdir(parents=True)  # within a run there is none
    expected = ["a/3/seed0", "b/1/seed2", "b/1/seed10", "suite/runs/a/2/seed0"]
    assert expected == [run.name for run in find_runs(tmp_path)]
    assert [0, 2, 10, 0] == [run.seed for run in find_runs(tmp_path)]


def test_a_run_is_its_own_index(tmp_path: Path) -> None:
    path = write_run(tmp_path, "a/1/seed0", {})
    assert [path] == [run.path for run in find_runs(path)]


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("status.json", "{", "status.json is damaged: it is not JSON"),
        ("status.json", "[]", "status.json is damaged: it is not an object"),
        ("status.json", "{}", "status.json contains no state"),
        ("status.json", None, "no status.json: the run has just started, or it ended before its state was saved"),
        ("summary.json", '{"metrics": ', "summary.json is damaged: it is not JSON"),
        ("summary.json", "\xff\x00", "summary.json is damaged: it is not JSON"),
        ("summary.json", "{}", "summary.json is not complete"),
        ("summary.json", None, "no summary.json"),
    ],
)
def test_a_damaged_run_says_why_and_leaves_the_others_alone(
    tmp_path: Path, file: str, content: str | None, fault: str
) -> None:
    path = write_run(tmp_path, "a/1/seed0", {"return.average": 1.0})
    write_run(tmp_path, "b/1/seed0", {"return.average": 2.0})
    (path / file).unlink()
    if content is not None:
        (path / file).write_text(content, encoding="latin-1")
    damaged, whole = find_runs(tmp_path)
    assert fault == damaged.fault
    assert "corrupt" == damaged.state
    assert [fault] == damaged.values("error")
    assert "finished" == whole.state
    assert {"return.average": 2.0} == whole.metrics


def test_a_config_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    path = write_run(tmp_path, "a/1/seed0", {})
    (path / "config.yaml").write_text("a: [")
    (run,) = find_runs(tmp_path)
    assert {} == run.config
    assert [] == run.values("learner.type")


def test_a_key_is_a_field_a_metric_or_a_setting(tmp_path: Path) -> None:
    write_run(tmp_path, "a/1/seed3", {"return.average": 7.0})
    (run,) = find_runs(tmp_path)
    assert [3] == run.values("seed")
    assert [10] == run.values("step")
    assert [2.5] == run.values("seconds")
    assert [7.0] == run.values("return.average")
    assert [0.001] == run.values("learner.lr")
    assert ["l2", "ewc"] == run.values("learner.methods.type")
    assert ["ewc"] == run.values("learner.methods[1].type")
    assert [] == run.values("learner.methods[2].type")
    assert [] == run.values("learner.optimizer")


def test_runs_are_named_by_path_name_beginning_or_pattern(tmp_path: Path) -> None:
    path = write_run(tmp_path, "digits/1/seed0", {})
    write_run(tmp_path, "digits/2/seed0", {})
    assert [path] == [run.path for run in named_runs(str(path), tmp_path)]
    assert [path] == [run.path for run in named_runs("digits/1", tmp_path)]
    assert 2 == len(named_runs("digits/*/seed0", tmp_path))
    with pytest.raises(RunFolderError, match=r"no run digit in .*did you mean digits"):
        named_runs("digit", tmp_path)


def test_a_path_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no such folder"):
        runs_at(tmp_path / "missing")
    with pytest.raises(RunFolderError, match="no run in this folder"):
        runs_at(tmp_path)


def test_a_key_that_no_run_has_is_refused_with_the_nearest(tmp_path: Path) -> None:
    write_run(tmp_path, "a/1/seed0", {"forgetting.chaudhry": 0.1})
    runs = find_runs(tmp_path)
    check_key("forgetting.chaudhry", runs, "--sort")
    with pytest.raises(RunFolderError, match=r"--sort forgetting.chaudry: no run .*did you mean forgetting.chaudhry"):
        check_key("forgetting.chaudry", runs, "--sort")
    with pytest.raises(RunFolderError, match=r"did you mean learner\.lr"):
        check_key("learner.lrr", runs, "--where")


def test_a_config_as_dotted_keys() -> None:
    expected = {"a.b": 1, "a.c[0].d": 2, "a.c[1].d": 3, "e": [4, 5], "f": {}}
    assert expected == dotted_keys({"a": {"b": 1, "c": [{"d": 2}, {"d": 3}]}, "e": [4, 5], "f": {}})


def test_a_run_whose_process_is_gone_is_crashed(tmp_path: Path) -> None:
    path = write_run(tmp_path, "a/1/seed0", None, state="running")
    (run,) = find_runs(tmp_path)
    with locked(path / "lock.json"):
        assert ("running", "running") == (run.state, state_of(path))
    assert ("crashed", "crashed") == (run.state, state_of(path))
    assert "unknown" == state_of(tmp_path)
