"""Folders of runs of several machines, merged into one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from rlcl.commands import main
from rlcl.experiment import experiment_from
from rlcl.launch.seeds import run_experiment
from rlcl.lock import locked
from rlcl.tracking.json_files import read_json
from rlcl.tracking.merge import merge_runs
from rlcl.tracking.runs import find_runs

CONFIG = {
    "name": "small",
    "objective": {"statement": "learn", "success": ["accuracy.average >= 0.1"]},
    "stream": {"type": "class_incremental", "data": {"type": "digits"}, "experiences": 2},
    "learner": {"type": "classifier"},
    "budget": {"updates": 5},
}


def run(root: Path, *seeds: int) -> Path:
    """Run seeds in a folder, and return the folder of the experiment."""
    return run_experiment(experiment_from({**CONFIG, "seeds": list(seeds)}), root, Console(quiet=True))[0].path.parent


def files(folder: Path) -> Mapping[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def merge(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["runs", "merge", *map(str, arguments)])
    return int(ended.value.code or 0)


def test_runs_of_two_folders_are_joined_and_judged_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = run(tmp_path / "a", 0)
    run(tmp_path / "b", 0, 1)
    before = files(tmp_path / "b")
    assert 0 == merge(tmp_path / "a", tmp_path / "b")
    name = f"small/{group.name}"
    assert f"copied  {name}/seed1\n1 run copied to {tmp_path / 'a'}, 1 already there\n" == capsys.readouterr().out
    assert before == files(tmp_path / "b")
    assert 2 == read_json(group / "verdict.json")["seeds"]
    assert (group / "tensorboard").is_dir()  # intervals over both seeds
    assert [f"{name}/seed0", f"{name}/seed1"] == [stored.name for stored in find_runs(tmp_path / "a")]
    assert files(tmp_path / "b" / name / "seed1") == files(group / "seed1")


def test_different_records_of_the_same_run_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = run(tmp_path / "a", 0)
    other = tmp_path / "b" / "small" / group.name / "seed0"
    shutil.copytree(group / "seed0", other)
    records = (other / "records.jsonl").read_text().replace('"step":5', '"step":6')
    (other / "records.jsonl").write_text(records)
    summary = json.loads((other / "summary.json").read_text())
    del summary["records"]  # else the run would be damaged
    (other / "summary.json").write_text(json.dumps(summary))
    before = files(group)
    assert 1 == merge(tmp_path / "a", tmp_path / "b")
    assert "both have finished with different records; compare them with rlcl runs diff" in capsys.readouterr().err
    assert before == files(group)


def test_the_run_that_is_further_replaces_the_other(tmp_path: Path) -> None:
    seed = run(tmp_path / "a", 0) / "seed0"
    other = tmp_path / "b" / seed.relative_to(tmp_path / "a")
    shutil.copytree(seed, other)
    (seed / "summary.json").unlink()
    (seed / "records.jsonl").write_text("")
    (seed / "status.json").write_text('{"state": "interrupted", "step": 3}')
    (merged,) = merge_runs(tmp_path / "a", tmp_path / "b")
    assert "already there" == merged.action
    (merged,) = merge_runs(tmp_path / "b", tmp_path / "a")
    assert "copied" == merged.action
    assert files(other) == files(seed)
    assert [seed] == list(seed.parent.glob("*seed*"))
    for step, action in ((2, "already there"), (4, "copied")):
        for folder, at in ((seed, 3), (other, step)):
            (folder / "summary.json").unlink(missing_ok=True)
            (folder / "status.json").write_text(f'{{"state": "interrupted", "step": {at}}}')
            (folder / "records.jsonl").write_text(str(at))
        (merged,) = merge_runs(tmp_path / "b", tmp_path / "a")
        assert action == merged.action


def test_runs_in_use_or_damaged_are_left_out(tmp_path: Path) -> None:
    group = run(tmp_path / "a", 0, 1)
    with locked(group / "seed0" / "lock.json"):
        in_use, copied = merge_runs(tmp_path / "a", tmp_path / "b")
    assert ("left out", "copied") == (in_use.action, copied.action)
    assert "a process works on" in in_use.reason
    (group / "seed0" / "records.jsonl").write_text("")
    damaged, same = merge_runs(tmp_path / "a", tmp_path / "b")
    assert ("left out", "already there") == (damaged.action, same.action)
    assert "records.jsonl was truncated or modified" in damaged.reason


def test_bad_folders_are_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for source, reason in (("none", "no such folder"), ("empty", "no run in this folder or its subfolders")):
        assert 1 == merge(tmp_path / "a", tmp_path / source)
        assert f"rlcl: {tmp_path / source}: {reason}" in capsys.readouterr().err
    run(tmp_path / "a", 0)
    assert 1 == merge(tmp_path / "a", tmp_path / "a")
    assert "the target itself" in capsys.readouterr().err


def test_suites_of_shards_become_one(tmp_path: Path) -> None:
    for root, cells in (("a", [1]), ("b", [1, 2])):
        (tmp_path / root / "grid" / "logs").mkdir(parents=True)
        rows = [{"run": f"h/seed{cell}", "name": f"c{cell}", "labels": {}} for cell in cells]
        content = {"name": "grid", "cells": rows, "definition": {"name": "grid"}}
        (tmp_path / root / "grid" / "suite.json").write_text(json.dumps(content))
        (tmp_path / root / "grid" / "logs" / f"h-seed{cells[-1]}.txt").write_text("log")
        seed = tmp_path / root / "grid" / "h" / f"seed{cells[-1]}"
        shutil.copytree(run(tmp_path / "runs", 0) / "seed0", seed)
    assert 0 == merge(tmp_path / "a", tmp_path / "b")
    assert ["h/seed1", "h/seed2"] == [cell["run"] for cell in read_json(tmp_path / "a/grid/suite.json")["cells"]]
    assert (tmp_path / "a/grid/logs/h-seed2.txt").is_file()
    changed = tmp_path / "b" / "grid" / "suite.json"
    changed.write_text(changed.read_text().replace('"definition": {"name": "grid"}', '"definition": {"name": "x"}'))
    assert 1 == merge(tmp_path / "a", tmp_path / "b")
