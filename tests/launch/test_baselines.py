"""Single-task and joint runs: the same learner without methods, run once, whatever refers to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlcl.commands import main
from rlcl.errors import ConfigError
from rlcl.experiment import Experiment, load_experiment
from rlcl.launch import seed_run
from rlcl.launch.seeds import run_experiment
from rlcl.tracking.folder import read_records, read_results

QUIET = Console(quiet=True)

POLES = """
name: poles
stream:
  type: environments
  env: CartPole-v1
  tasks: [{}, {attributes: {gravity: 40}}]
  num_envs: 2
learner: {type: ppo, n_steps: 32, epochs: 1, network: {type: mlp, hidden: [8]}, methods: [{type: l2, strength: 0.1}]}
budget: {env_steps: 128}
evaluation: {every: {env_steps: 64}, episodes: 2, baselines: single_task}
"""
DIGITS = """
name: digits
stream: {type: class_incremental, experiences: 3}
learner: {type: classifier, network: {type: linear}, batch_size: 64, methods: [{type: ewc, strength: 10}]}
budget: {epochs: 1}
evaluation: {baselines: [single_task, joint]}
"""


def experiment(folder: Path, text: str, *changes: str) -> Experiment:
    (folder / "experiment.yaml").write_text(text)
    return load_experiment(folder / "experiment.yaml", changes)


def folders(root: Path) -> list[str]:
    return sorted(str(f.parent.relative_to(root)) for f in root.glob("baselines/*/*/status.json"))


def test_a_single_task_run_is_that_of_the_task_without_methods(tmp_path: Path) -> None:
    poles = experiment(tmp_path, POLES)
    (finished,) = run_experiment(poles, tmp_path, QUIET)
    copied = [r for r in finished.outcome.records if r.metric.startswith("single_task.")]
    for column, attributes in enumerate(({}, {"gravity": 40})):
        own = experiment(
            tmp_path, POLES, f"stream.tasks=[{{attributes: {attributes}}}]", "learner.methods=[]", "name=own",
            "evaluation.baselines=[]", "evaluation.on=current",
        )  # fmt: skip
        (run,) = run_experiment(own, tmp_path, QUIET)
        expected = [(r.step, f"single_task.{r.metric}", r.value) for r in run.outcome.records if r.trained_on == 0]
        assert expected
        assert expected == [(r.step, r.metric, r.value) for r in copied if r.evaluated_on == column]
    assert {(0, 0), (1, 1)} == {(r.trained_on, r.evaluated_on) for r in copied}


def test_the_records_of_a_run_do_not_depend_on_its_baselines(tmp_path: Path) -> None:
    (with_baselines,) = run_experiment(experiment(tmp_path, POLES), tmp_path / "a", QUIET)
    (without,) = run_experiment(experiment(tmp_path, POLES, "evaluation.baselines=[]"), tmp_path / "b", QUIET)
    assert with_baselines.path.relative_to(tmp_path / "a") == without.path.relative_to(tmp_path / "b")
    assert read_records(with_baselines.path) == read_records(without.path)


def test_a_baseline_is_never_run_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    make_trainer = seed_run.make_trainer

    def counted(experiment: Experiment, *args: Any, **kwargs: Any) -> Any:
        trained.append(experiment.name)
        return make_trainer(experiment, *args, **kwargs)

    monkeypatch.setattr(seed_run, "make_trainer", counted)
    run_experiment(experiment(tmp_path, POLES), tmp_path / "runs", QUIET)
    assert ["poles", "baselines", "baselines"] == trained
    run_experiment(experiment(tmp_path, POLES), tmp_path / "runs", QUIET)  # finished
    # Another method, the tasks in another order, and each twice: the same tasks alone.
    for change in ("learner.methods=[]", "stream.sequence=[1, 0]", "stream.repeat=2"):
        run_experiment(experiment(tmp_path, POLES, change), tmp_path / "runs", QUIET)
    visits = ("stream.repeat=2", "stream.matrix_columns=visits")
    (finished,) = run_experiment(experiment(tmp_path, POLES, *visits), tmp_path / "runs", QUIET)
    assert 2 == trained.count("baselines")
    assert 7 == len(trained)
    columns = [r.evaluated_on for r in finished.outcome.records if r.metric == "single_task.reward"]
    assert [0, 1, 2, 3] == columns


def test_baselines_are_added_to_a_finished_run(tmp_path: Path) -> None:
    run_experiment(experiment(tmp_path, POLES, "evaluation.baselines=[]"), tmp_path / "runs", QUIET)
    assert [] == folders(tmp_path / "runs")
    (finished,) = run_experiment(experiment(tmp_path, POLES), tmp_path / "runs", QUIET)
    assert finished.repeated
    assert 2 == len(folders(tmp_path / "runs"))
    assert "regret" in finished.outcome.metrics
    assert "regret" in json.loads((finished.path / "summary.json").read_text())["metrics"]


def test_joint_runs_give_the_intransigence(tmp_path: Path) -> None:
    digits = experiment(tmp_path, DIGITS)
    (finished,) = run_experiment(digits, tmp_path / "runs", QUIET)
    joint = {r.evaluated_on: r.value for r in finished.outcome.records if r.metric == "joint.accuracy"}
    assert {0, 1, 2} == set(joint)
    matrix = finished.outcome.R
    expected = sum(joint[j] - matrix[j, j] for j in range(3)) / 3
    assert expected == pytest.approx(finished.outcome.metrics["intransigence"])
    # The first joint run is that of the first experience alone.
    alone = [r.value for r in finished.outcome.records if r.metric == "single_task.accuracy" and r.evaluated_on == 0]
    assert alone[-1] == joint[0]


def test_scores_are_scaled_by_random_actions_and_single_task_runs(tmp_path: Path) -> None:
    poles = experiment(tmp_path, POLES, "evaluation.measures=[score, return]")
    (finished,) = run_experiment(poles, tmp_path / "runs", QUIET)
    records = read_results(finished.path)

    def last(metric: str, column: int, trained_on: int | None = None) -> float:
        rows = [r for r in records if r.metric == metric and r.evaluated_on == column]
        return [r.value for r in rows if trained_on is None or r.trained_on == trained_on][-1]

    for column in (0, 1):
        low, high = last("random.return", column), last("single_task.return", column)
        scores = [r for r in records if r.metric == "score" and r.evaluated_on == column]
        if low >= high:
            assert [] == scores
            continue
        assert last("score", column, 1) == pytest.approx((last("return", column, 1) - low) / (high - low))
        assert last("single_task.score", column) == pytest.approx(1.0)


def test_environments_have_no_joint_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joint = experiment(tmp_path, POLES, "evaluation.baselines=joint")
    with pytest.raises(ConfigError, match=r"evaluation.baselines: .* environments cannot be joined .*; remove joint"):
        run_experiment(joint, tmp_path / "runs", QUIET)
    assert not list((tmp_path / "runs").rglob("records.jsonl"))  # refused before training
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path / "experiment.yaml"), "evaluation.baselines=joint"])
    assert 2 == ended.value.code
    assert "environments cannot be joined" in capsys.readouterr().err


def test_the_boundary_policy_of_methods_does_not_affect_baselines(tmp_path: Path) -> None:
    rehearsal = "learner.methods=[{type: rehearsal, capacity: 20}]"
    digits = experiment(tmp_path, DIGITS, rehearsal, "boundary.memory=reset", "evaluation.baselines=single_task")
    (finished,) = run_experiment(digits, tmp_path / "runs", QUIET)
    assert 3 == len([r for r in finished.outcome.records if r.metric == "single_task.accuracy"])


def test_two_processes_divide_the_baselines_and_wait_for_each_other(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for name, methods in (("a", "[]"), ("b", "[{type: l2, strength: 0.2}]")):
        text = POLES.replace("methods: [{type: l2, strength: 0.1}]", f"methods: {methods}")
        (tmp_path / f"{name}.yaml").write_text(text)
    commands = [
        [sys.executable, "-m", "rlcl", "run", str(tmp_path / f"{name}.yaml"), "--root", str(tmp_path / "runs")]
        for name in "ab"
    ]
    processes = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [0, 0] == [process.returncode for process in processes], outputs
    assert 2 == len(folders(tmp_path / "runs"))
    sessions = [json.loads((tmp_path / "runs" / f / "manifest.json").read_text())["sessions"]
                for f in folders(tmp_path / "runs")]  # fmt: skip
    assert [1, 1] == [len(s) for s in sessions]
    for file in (tmp_path / "runs/poles").rglob("baselines.jsonl"):
        assert {"single_task.return", "single_task.reward"} <= {
            json.loads(line)["metric"] for line in file.read_text().splitlines()
        }


def test_the_verdict_over_seeds_and_what_is_shown_refer_to_baselines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objective = 'objective={success: ["regret <= 1000000"]}'
    poles = experiment(tmp_path, POLES, objective, "evaluation.metrics=[regret]", "seeds=[0, 1]")
    finished = run_experiment(poles, tmp_path / "runs", QUIET)
    assert "met" == json.loads((finished[0].path.parent / "verdict.json").read_text())["said"]
    with pytest.raises(SystemExit):
        main(["runs", "show", "poles", "--root", str(tmp_path / "runs")])
    printed = capsys.readouterr().out
    assert "regret" in printed
    assert "not defined" not in printed
