"""A run folder of the version before is read as today's, and one of a newer version is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from ruamel.yaml import YAML

from rlcl.errors import ConfigError, RunFolderError
from rlcl.experiment import dump, load_experiment
from rlcl.launch.seeds import run_seed
from rlcl.tracking.migration import Move, migrate
from rlcl.tracking.runs import StoredRun

OLD = "0123456789ab"
REFUSED = r"a run folder of version 3; this rlcl reads version 1 and 2\. Read it with the rlcl that wrote it"
BOARD = {"moments": 3, "images": 8, "points": 300, "frames": 100}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run as version 1 had it: TensorBoard under a key of its own, no version, a shorter summary."""
    path = tmp_path / "quickstart" / OLD / "seed0"
    path.mkdir(parents=True)
    config = YAML(typ="safe", pure=True).load(dump(load_experiment("quickstart")))
    del config["sinks"]
    with (path / "config.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump({**config, "tensorboard": BOARD}, file)
    summary = {"metrics": {"accuracy.average": 0.5}, "measures": ["accuracy"], "experiences": ["a"], "names": []}
    write(path, status={"state": "finished"}, manifest={"data": "0"}, summary=summary)
    return path


def write(path: Path, **files: Any) -> None:
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))


def test_settings_of_tensorboard_become_those_of_a_sink(run: Path) -> None:
    wanted = load_experiment("quickstart", [f"sinks=[{json.dumps({'type': 'tensorboard', **BOARD})}]"])
    assert wanted == load_experiment(run / "config.yaml")
    assert [{"type": "tensorboard", **BOARD}] == StoredRun(run, "old").config["sinks"]
    assert "tensorboard" not in StoredRun(run, "old").config


def test_the_command_line_changes_what_was_migrated(run: Path) -> None:
    assert () == load_experiment(run / "config.yaml", ["sinks=[]"]).sinks


def test_a_run_of_before_is_finished_and_moves_to_its_hash_of_today(tmp_path: Path, run: Path) -> None:
    assert "finished" == StoredRun(run, "old").state
    assert [Move(run.parent, run.parent.with_name(load_experiment("quickstart").hash))] == list(migrate(tmp_path))


def test_the_key_of_before_is_refused_outside_of_a_run_of_before(run: Path) -> None:
    write(run, manifest={"format": 2})
    with pytest.raises(ConfigError, match="write its settings as those of a sink"):
        load_experiment(run / "config.yaml")


def test_a_newer_version_is_refused_by_every_reader(tmp_path: Path, run: Path) -> None:
    write(run, manifest={"format": 3, "data": "0"})
    with pytest.raises(RunFolderError, match=REFUSED):
        load_experiment(run / "config.yaml")
    assert "corrupt" == StoredRun(run, "new").state
    assert StoredRun(run, "new").fault.startswith("a run folder of version 3; ")
    assert {} == StoredRun(run, "new").config
    (move,) = migrate(tmp_path)
    assert "a run folder of version 3" in move.skipped


def test_a_newer_run_is_not_written_to(tmp_path: Path, run: Path) -> None:
    experiment = load_experiment("quickstart")
    newer = run.parent.rename(run.parent.with_name(experiment.hash)) / "seed0"
    write(newer, manifest={"format": 3, "data": "0"}, status={"state": "interrupted"})
    before = {path: path.read_text() for path in newer.glob("*.*")}
    with pytest.raises(RunFolderError, match=REFUSED):
        run_seed(experiment, 0, tmp_path, Console(quiet=True))
    assert before == {path: path.read_text() for path in newer.glob("*.*")}
