"""The verbs of the command line, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML
from run_folders import write_run

from rlcl.commands import _unwrapped, app, main
from rlcl.config import shipped_experiments
from rlcl.registry import KINDS, entries


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status and everything printed."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


@pytest.fixture
def config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "mine.yaml"
    assert call(capsys, "init", path)[0] == 0
    return path


def test_what_init_writes_passes_check(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = call(capsys, "check", config)
    assert status == 0
    assert "digits 8-9" in printed
    assert "ready to run" in printed
    assert "MiB" in printed


def test_init_replaces_nothing_unasked(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "init", config)[0] == 1
    assert call(capsys, "init", config, "--force")[0] == 0


def test_check_writes_nothing(config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    call(capsys, "check", config)
    assert before == sorted(tmp_path.rglob("*"))


def test_a_run_can_be_listed_shown_and_removed(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    root = tmp_path / "runs"
    status, printed = call(capsys, "run", config, "seeds=[0]", "budget.epochs=1", "--root", root)
    assert status == 4  # an objective that is not met has a status of its own
    assert "experience 5/5 (digits 8-9)" in printed
    assert "accuracy.average >= 0.85" in printed
    (folder,) = root.glob("mine/*/seed0")
    assert (folder.parent / "R.png").stat().st_size > 1000
    name = str(folder.relative_to(root))
    status, printed = call(capsys, "runs", "list", "--root", root)
    assert name in printed
    assert "finished" in printed
    status, printed = call(capsys, "runs", "show", name, "--root", root)
    assert "trained on \\ evaluated on" in printed
    assert call(capsys, "runs", "rm", name, "--root", root, "--yes")[0] == 0
    assert not folder.exists()
    assert call(capsys, "runs", "show", name, "--root", root)[0] == 1


def test_the_run_folder_holds_what_the_documents_say(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    call(capsys, "run", config, "seeds=[4]", "budget.epochs=1", "--root", tmp_path / "runs", "-q")
    (folder,) = (tmp_path / "runs").glob("mine/*/seed4")
    expected = {"config.yaml", "manifest.json", "status.json", "records.jsonl", "events.jsonl", "tensorboard"}
    expected |= {"costs.jsonl", "log.txt", "checkpoints", "summary.json"}
    assert expected == {path.name for path in folder.iterdir()}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["seed"] == 4
    assert len(manifest["data"]) == 64
    assert manifest["packages"]["torch"]
    assert len(list((folder / "checkpoints").iterdir())) == 2
    assert "experience 5/5" in (folder / "log.txt").read_text()


def test_tensorboard_holds_curves_pictures_and_hyperparameters_of_one_run(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    call(capsys, "run", config, "seeds=[0]", "budget.epochs=1", "--root", tmp_path / "runs", "-q")
    (folder,) = (tmp_path / "runs").glob("mine/*/seed0/tensorboard")
    assert len(list(folder.rglob("events.out.tfevents.*"))) == 1  # another would be a second run
    found = EventAccumulator(str(folder)).Reload()
    tags = found.Tags()
    assert {"train/loss", "train/lr", "train/gradient_norm", "accuracy/00 digits 0-1"} <= set(tags["scalars"])
    assert tags["images"] == ["R/accuracy"]
    assert "Metrics/accuracy.average" in tags["scalars"]
    assert any("hparams" in tag for tag in found.summary_metadata)


@pytest.mark.parametrize("kind", KINDS)
def test_list_has_a_line_for_each_component(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = call(capsys, "list", kind)
    assert status == 0
    lines = printed.splitlines()
    for name in entries(kind):
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert line.rstrip().endswith("built-in")
        assert len(line.split()) > 3


def test_an_unknown_kind_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = call(capsys, "list", "metho")
    assert status == 2
    assert "did you mean method?" in printed


def test_every_shipped_experiment_fits_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads(call(capsys, "schema")[1])
    for path in sorted(shipped_experiments().rglob("*.yaml")):
        content = YAML(typ="safe").load(path.read_text())
        if "extends" not in content:
            jsonschema.validate(content, schema)


@pytest.mark.parametrize("verb", [*(str(command.name) for command in app.registered_commands), "runs", "runs list"])
def test_every_verb_has_help_with_one_line_for_each_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = call(capsys, *verb.split(), "--help")
    assert status == 0
    assert "Usage: " in printed
    assert [
        line for line in printed.splitlines() if line.startswith((" rlcl", "     rlcl")) and line.count(" rlcl ") > 1
    ] == []


def test_the_settings_of_a_component_are_shown_with_their_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = call(capsys, "list", "method", "der")
    assert status == 0
    rows = {line.split()[0]: line.split()[1] for line in printed.splitlines() if line.split()}
    assert rows["capacity"] == "None"
    assert rows["batch_size"] == "32"
    _, printed = call(capsys, "list", "learner", "sb3")
    assert {line.split()[0]: line.split()[1] for line in printed.splitlines() if line.split()[1:]}[
        "algorithm"
    ] == "required"


def test_runs_are_found_by_name_beginning_or_pattern(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    root = tmp_path / "runs"
    call(capsys, "run", config, "seeds=[0,1]", "budget.epochs=1", "--root", root, "-q")
    for name in ("mine", "mine/*/seed0", str(next(root.glob("mine/*"))) + "/"):
        assert call(capsys, "runs", "show", name, "--root", root)[0] == 0
    assert call(capsys, "runs", "rm", "mine", "--root", root, "--yes")[0] == 0
    assert [] == list(root.glob("*/*/seed*"))


def test_the_stream_can_be_drawn(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, printed = call(capsys, "check", config, "--draw")
    assert status == 0
    assert "mine-stream.png" in printed
    assert (tmp_path / "mine-stream.png").stat().st_size > 1000


def test_runs_can_be_selected_sorted_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "a/1/seed0", {"return.average": 20.0})
    write_run(tmp_path, "b/1/seed0", {"return.average": 9.0}, learner="dqn")
    (write_run(tmp_path, "c/1/seed0", {}) / "status.json").write_text("{")
    status, printed = call(capsys, "runs", "list", "--root", tmp_path, "--sort", "return.average")
    assert status == 0
    assert ["run", "a/1/seed0", "b/1/seed0", "c/1/seed0"] == [line.split()[0] for line in printed.splitlines()]
    assert "status.json is damaged" in printed.splitlines()[-1]
    options = ["--where", "learner.type=dqn", "--columns", "learner.lr", "--json"]
    (row,) = json.loads(call(capsys, "runs", "list", "--root", tmp_path, *options)[1])
    assert ("b/1/seed0", 0.001, {"return.average": 9.0}) == (row["run"], row["learner.lr"], row["metrics"])
    status, printed = call(capsys, "runs", "diff", "a", "b", "--root", tmp_path)
    lines = [line.split() for line in printed.splitlines()]
    assert ["learner.type", "ppo", "dqn"] in lines
    assert ["return.average", "20", "9", "-11"] in lines
    status, printed = call(capsys, "runs", "list", "--root", tmp_path, "--sort", "return.averages")
    assert (1, True) == (status, "did you mean return.average?" in printed)


def test_help_is_wrapped_by_the_terminal_and_not_by_its_source() -> None:
    text = """First line
        and second.

        A command:

            rlcl run a
        """
    assert _unwrapped(text) == "First line and second.\n\nA command:\n\n    rlcl run a"
