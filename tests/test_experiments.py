"""Every shipped experiment runs end to end, and the quickstart in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcl.commands import main
from rlcl.config import shipped_experiments
from rlcl.data.readers.torchvision import IDX_FILES
from rlcl.data.root import data_root
from rlcl.experiment import dump, experiment_from, load_experiment
from rlcl.launch.seeds import run_experiment
from rlcl.tracking.json_files import read_json

EXPERIMENTS = sorted(shipped_experiments().rglob("*.yaml"))
SMOKE = {"epochs": "{epochs: 1}", "env_steps": "{env_steps: 512}"}


def names(path: Path) -> str:
    return str(path.relative_to(shipped_experiments()))


def test_there_is_one_of_each_kind() -> None:
    folders = {path.parent.name for path in EXPERIMENTS}
    assert folders >= {"supervised", "unsupervised", "reinforcement", "continual"}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=names)
def test_an_experiment_runs_at_a_smoke_budget(path: Path, tmp_path: Path) -> None:
    experiment = load_experiment(path)
    if "mnist" in path.name and not all((data_root() / "MNIST" / "raw" / name).is_file() for name in IDX_FILES):
        pytest.skip(f"no MNIST in {data_root()}")
    changes = [f"budget={SMOKE[experiment.budget.unit]}", "seeds=[0]", "evaluation.episodes=2"]
    finished = run_experiment(load_experiment(path, changes), tmp_path)
    folder = finished[0].path
    assert read_json(folder / "status.json")["state"] == "finished"
    assert finished[0].outcome.metrics.keys() == read_json(folder / "summary.json")["metrics"].keys()
    assert list((folder / "tensorboard").iterdir())


@pytest.mark.parametrize("path", EXPERIMENTS, ids=names)
def test_an_experiment_survives_being_written_and_read(path: Path) -> None:
    from ruamel.yaml import YAML

    experiment = load_experiment(path)
    again = experiment_from(YAML(typ="safe").load(dump(experiment)))
    assert experiment == again
    assert experiment.hash == again.hash


def test_the_quickstart_in_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "quickstart", "--root", str(tmp_path)])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "accuracy (mean of 3 seeds)" in printed
    assert "accuracy.average" in printed
    assert "tensorboard --logdir" in printed
    assert printed.count(" met") + printed.count("not met") >= 2


def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    experiment = load_experiment("quickstart", ["seeds=[0]", "budget.epochs=1"])
    first = run_experiment(experiment, tmp_path)[0]
    written = (first.path / "records.jsonl").stat().st_mtime_ns
    second = run_experiment(load_experiment("quickstart", ["seeds=[0,1]", "budget.epochs=1"]), tmp_path)
    assert [True, False] == [f.repeated for f in second]
    assert written == (first.path / "records.jsonl").stat().st_mtime_ns
    assert first.outcome.metrics == second[0].outcome.metrics


def test_another_type_of_stream_keeps_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text((shipped_experiments() / "quickstart.yaml").read_text())
    (tmp_path / "x.yaml").write_text("extends: base.yaml\nstream: {data: mnist, type: rotated}\n")
    assert load_experiment(tmp_path / "x.yaml").stream.options.data.type == "mnist"
    (tmp_path / "y.yaml").write_text("extends: x.yaml\nstream: {type: permuted}\n")
    assert (
        load_experiment(tmp_path / "y.yaml", ["stream.type=single", "stream.experiences=null"]).stream.options.data.type
        == "mnist"
    )
