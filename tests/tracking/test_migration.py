"""Runs under a hash of before move to today's, with all that names the hash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rlcl.commands import main
from rlcl.config import unstructure
from rlcl.experiment import dump, load_experiment
from rlcl.lock import locked
from rlcl.tracking.checksum import Checksum
from rlcl.tracking.migration import Move, migrate
from rlcl.training import checkpoint

OLD = "0123456789ab"
SHOWN = {"moments": 3, "images": 8, "points": 300, "frames": 100}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two seeds of a suite's cell, as an earlier rule named them."""
    folder = tmp_path / "quickstart" / OLD
    for seed in (0, 1):
        run = folder / f"seed{seed}"
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(dump(load_experiment("quickstart")))
        (run / "records.jsonl").write_text(json.dumps({"run": OLD, "seed": seed, "value": 0.5}) + "\n")
        (run / "status.json").write_text(json.dumps({"state": "finished"}))
        (run / "manifest.json").write_text(json.dumps({"command": f"rlcl report runs/quickstart/{OLD}"}))
    cells = [{"name": "a/seed0", "hash": OLD, "run": f"{OLD}/seed0"}, {"hash": "f" * 12, "run": f"{'f' * 12}/seed0"}]
    (folder.parent / "suite.json").write_text(json.dumps({"name": "quickstart", "cells": cells}))
    (folder.parent / "logs").mkdir()
    (folder.parent / "logs" / f"{OLD}-seed0.txt").write_text("done")
    return folder


@pytest.fixture
def target(folder: Path) -> Path:
    return folder.with_name(load_experiment("quickstart").hash)


def status(root: Path, *options: str) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        main(["runs", "migrate", str(root), *options])
    return left.value.code


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_a_folder_moves_with_all_that_names_its_hash(tmp_path: Path, folder: Path, target: Path) -> None:
    before = contents(tmp_path)
    assert [Move(folder, target)] == list(migrate(tmp_path))
    after = contents(tmp_path)
    wanted = {path.replace(OLD, target.name): text.replace(OLD, target.name) for path, text in before.items()}
    for seed in (0, 1):
        manifest = f"quickstart/{target.name}/seed{seed}/manifest.json"
        assert {**json.loads(wanted.pop(manifest)), "format": 2} == json.loads(after.pop(manifest))
    suite = wanted.pop("quickstart/suite.json"), after.pop("quickstart/suite.json")
    assert json.loads(suite[0]) == json.loads(suite[1])
    assert wanted == after
    assert [] == list(migrate(tmp_path))


def test_a_dry_run_changes_nothing(
    tmp_path: Path, folder: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(tmp_path)
    assert 0 == status(tmp_path, "--dry-run")
    assert f"would move {folder} to {target}\n" == capsys.readouterr().out
    assert before == contents(tmp_path)


def test_nothing_to_migrate_is_said(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == status(tmp_path)
    capsys.readouterr()
    assert 0 == status(tmp_path)
    assert capsys.readouterr().out.startswith(f"nothing to migrate in {tmp_path}")


def test_a_target_that_is_there_is_left(tmp_path: Path, folder: Path, target: Path) -> None:
    target.mkdir()
    before = contents(tmp_path)
    (move,) = migrate(tmp_path)
    assert move.skipped == f"{target} exists already; remove one of the two"
    assert before == contents(tmp_path)


def test_a_run_that_is_worked_on_is_left(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(folder / "seed1" / "lock.json"):
        assert 1 == status(tmp_path)
    assert f"skipped {folder}: seed1 is in use by process" in capsys.readouterr().err
    assert folder.is_dir()


@pytest.mark.parametrize("text", ["name: [", "name: x\n", "- 1\n"])
def test_a_config_that_cannot_be_read_is_told(tmp_path: Path, folder: Path, text: str) -> None:
    (folder / "seed0" / "config.yaml").write_text(text)
    (move,) = migrate(tmp_path)
    assert move.skipped.startswith("its config cannot be read: ")
    assert folder.is_dir()


def test_a_config_of_the_version_before_says_what_tensorboard_shows_by_its_sink(folder: Path, target: Path) -> None:
    for path in folder.glob("seed*/config.yaml"):
        config = YAML(typ="safe", pure=True).load(path.read_text())
        del config["sinks"]
        path.write_text(json.dumps({**config, "tensorboard": SHOWN}))
    assert [Move(folder, target)] == list(migrate(folder.parents[1]))
    found = load_experiment(target / "seed1" / "config.yaml")
    assert [{"type": "tensorboard", **SHOWN}] == unstructure(found)["sinks"]
    assert found.hash == target.name


def test_a_folder_of_a_later_version_is_left_with_both_versions(folder: Path) -> None:
    (folder / "seed0" / "manifest.json").write_text(json.dumps({"format": 3}))
    (move,) = migrate(folder.parents[1])
    assert move.target is None
    assert "a run folder of version 3; this rlcl reads version 1 and 2." in move.skipped


def test_stamps_of_records_that_name_the_hash_are_renewed_and_those_of_altered_ones_stay(
    folder: Path, target: Path
) -> None:
    for seed in (0, 1):
        run = folder / f"seed{seed}"
        stamp = Checksum.of((run / "records.jsonl").read_bytes())
        (run / "summary.json").write_text(json.dumps({"records": stamp.as_json}))
        checkpoint.save(run / "checkpoints", 3, {"records": stamp.as_json, "lengths": {}})
    file = folder / "seed1" / "records.jsonl"
    file.write_text(file.read_text().replace("0.5", "0.9"))
    altered = stamp
    assert [Move(folder, target)] == list(migrate(folder.parents[1]))
    for seed, whole in ((0, True), (1, False)):
        run = target / f"seed{seed}"
        found = Checksum.of((run / "records.jsonl").read_bytes()).as_json
        wanted = found if whole else altered.as_json
        assert wanted == json.loads((run / "summary.json").read_text())["records"]
        assert wanted == checkpoint.load(run / "checkpoints" / "00000003")["records"]
