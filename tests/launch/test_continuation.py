"""Runs that continue finished ones equal runs that had as much from the start, where the mathematics allows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import differences
from rich.console import Console

from rlcl.errors import ConfigError, RlclError, RunFolderError, UnsupportedError
from rlcl.experiment import Experiment, experiment_from
from rlcl.launch.continuation.initial_checkpoint import write_initial_checkpoint
from rlcl.launch.continuation.parent_runs import continued_experiment
from rlcl.launch.finished_run import FinishedRun
from rlcl.launch.seeds import run_experiment
from rlcl.tracking.json_files import read_json
from rlcl.tracking.jsonlines import read_lines
from rlcl.tracking.runs import find_runs
from rlcl.training import checkpoint

QUIET = Console(quiet=True)
CLASSIFIER = {"type": "classifier", "network": {"type": "mlp", "hidden": [8]}, "batch_size": 100}
SINGLE: Mapping[str, Any] = {
    "name": "life",
    "stream": {"type": "single"},
    "encoder": "standardize",
    "learner": CLASSIFIER,
    "budget": {"epochs": 2},
    "evaluation": {"every": {"updates": 5}, "online": True},
}
PERMUTED: Mapping[str, Any] = {**SINGLE, "stream": {"type": "permuted", "experiences": 2}}
CARTPOLE: Mapping[str, Any] = {
    "name": "acting",
    "stream": {"type": "environments", "env": "CartPole-v1", "tasks": [{}]},
    "learner": {"type": "ppo", "network": {"type": "mlp", "hidden": [8]}, "n_steps": 16, "batch_size": 16, "epochs": 1},
    "budget": {"env_steps": 64},
    "evaluation": {"episodes": 1},
    "event_interval": 16,
}


def changed(plain: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Nested settings replaced; ``learner__batch_size=8`` is one of the learner's."""
    made: dict[str, Any] = json.loads(json.dumps(plain))
    for key, value in changes.items():
        *path, last = key.split("__")
        node = made
        for part in path:
            node = node[part]
        node[last] = value
    return made


def run(plain: Mapping[str, Any], root: Path) -> FinishedRun:
    (finished,) = run_experiment(experiment_from(plain), root, QUIET)
    return finished


def planted(plain: Mapping[str, Any], parent: FinishedRun, root: Path, seeds: Sequence[int] = ()) -> Experiment:
    experiment, runs = continued_experiment(experiment_from(plain), find_runs(parent.path.parent), seeds)
    for each in runs:
        write_initial_checkpoint(experiment, each, root, QUIET)
    return experiment


def continued(plain: Mapping[str, Any], parent: FinishedRun, root: Path) -> FinishedRun:
    (finished,) = run_experiment(planted(plain, parent, root), root, QUIET)
    return finished


def evaluations(finished: FinishedRun) -> dict[tuple[int, int, int, str], float]:
    """What was evaluated, by everything but the run's name."""
    return {(r.step, r.trained_on, r.evaluated_on, r.metric): r.value for r in finished.outcome.records}


def last_state(finished: FinishedRun) -> Any:
    found = checkpoint.load_newest(finished.path / "checkpoints", pytest.fail)
    assert found is not None
    return found[1]["trainer"]


def events(finished: FinishedRun) -> list[dict[str, Any]]:
    clocked = ("time", "samples_per_second", "env_steps_per_second")
    return [{k: v for k, v in row.items() if k not in clocked} for row in read_lines(finished.path / "events.jsonl")]


@pytest.mark.parametrize(
    "learner",
    [
        {},
        {"optimizer": {"type": "adam", "lr": 0.01}, "methods": [{"type": "rehearsal", "capacity": 50}]},
        {"methods": [{"type": "l2_init"}, {"type": "shrink_and_perturb"}], "ema": 0.9},
    ],
)
def test_more_budget_equals_as_much_from_the_start(tmp_path: Path, learner: Mapping[str, Any]) -> None:
    short = changed(SINGLE, learner={**CLASSIFIER, **learner})
    long = changed(short, budget={"epochs": 4})
    whole, parts = run(long, tmp_path), continued(long, run(short, tmp_path), tmp_path)
    expected, actual = evaluations(whole), evaluations(parts)
    assert expected == {key: actual[key] for key in expected}
    assert differences(last_state(whole), last_state(parts)) == []
    assert {**events(whole)[-1], "loss": 0} == {**events(parts)[-1], "loss": 0}  # the mean since the last event
    assert whole.path != parts.path


def test_more_experiences_equal_as_many_from_the_start(tmp_path: Path) -> None:
    long = changed(PERMUTED, stream__experiences=3)
    whole, parts = run(long, tmp_path), continued(long, run(PERMUTED, tmp_path), tmp_path)
    expected, actual = evaluations(whole), evaluations(parts)
    known = {key for key in expected if key[1] == 2 or key[2] < 2}  # the third was unknown to the first two
    assert {key: expected[key] for key in known} == actual
    assert differences(last_state(whole), last_state(parts)) == []
    assert events(whole) == events(parts)
    assert (3, 3) == parts.outcome.R.shape
    assert np.isnan(parts.outcome.R[:2, 2]).all()


def test_more_heads_are_made_and_the_others_stay_as_they_were(tmp_path: Path) -> None:
    heads = {"type": "multihead", "body": {"type": "mlp", "hidden": [8]}, "features": 8}
    short = changed(PERMUTED, learner__network=heads, stream__visibility={"task_ids": "visible"})
    long = changed(short, stream__experiences=3)
    whole, parts = run(long, tmp_path), continued(long, run(short, tmp_path), tmp_path)
    assert differences(last_state(whole)["learner"]["module"], last_state(parts)["learner"]["module"]) == []


def test_more_classes_widen_the_network_and_other_learners_refuse_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((80, 4), dtype=np.float32), np.arange(80) % 4
    for folder, rows in (("few", y < 2), ("many", y < 4)):
        (tmp_path / folder).mkdir()
        columns = {"x_train": x[rows], "y_train": y[rows], "x_test": x[rows], "y_test": y[rows]}
        np.savez(tmp_path / folder / "data.npz", **columns)

    def over(folder: str, experiences: int, **changes: Any) -> dict[str, Any]:
        data = {"type": "npz", "path": str(tmp_path / folder / "data.npz")}
        stream = {"type": "class_incremental", "data": data, "experiences": experiences}
        return changed(SINGLE, stream=stream, encoder="identity", **changes)

    adam = {"learner__optimizer": "adam"}
    parts = continued(over("many", 2, **adam), run(over("few", 1, **adam), tmp_path), tmp_path)
    assert {4} == {t.shape[0] for name, t in last_state(parts)["learner"]["module"].items() if name.startswith("3.")}
    nearest = {"learner": {"type": "nearest_mean"}, "budget": {"epochs": 1}, "evaluation": {}}
    parent = run(over("few", 1, **nearest), tmp_path)
    with pytest.raises(RlclError, match="learner nearest_mean cannot take more classes"):
        planted(over("many", 2, **nearest), parent, tmp_path)


@pytest.mark.parametrize(
    "learner",
    [
        CARTPOLE["learner"],
        {"type": "dqn", "network": {"type": "mlp", "hidden": [8]}, "learning_starts": 8, "capacity": 60},
        {"type": "sb3", "algorithm": "PPO", "options": {"n_steps": 16, "batch_size": 16, "n_epochs": 1}},
        {"type": "sb3", "algorithm": "DQN", "options": {"learning_starts": 8, "buffer_size": 60}},
    ],
)
def test_reinforcement_goes_on_with_weights_memory_and_steps(tmp_path: Path, learner: Mapping[str, Any]) -> None:
    short = changed(CARTPOLE, learner=learner, encoder="running_norm")
    parent = run(short, tmp_path)
    more = continued(changed(short, budget={"env_steps": 128}), parent, tmp_path)
    assert {64, 128} == {r.step for r in more.outcome.records if r.trained_on == 0}
    told = {r.metric: r.value for r in more.outcome.records if r.trained_on == 0}
    assert told["samples"] == 128
    assert last_state(more)["learner"]["position"]["experience"] == 1
    tasks = changed(short, stream__tasks=[{}, {"attributes": {"gravity": 40}}])
    longer = continued(tasks, parent, tmp_path)
    assert (2, 2) == longer.outcome.R.shape
    assert {64, 128} == {r.step for r in longer.outcome.records if r.trained_on >= 0}


def test_the_budget_of_a_task_may_grow_only_if_it_is_the_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = changed(CARTPOLE, stream__tasks=[{"budget": {"env_steps": 32}}, {"budget": {"env_steps": 32}}])
    parent = run(short, tmp_path)
    for tasks in ([48, 32], [48, 32, 32], [32, 48, 32]):
        other = changed(short, stream__tasks=[{"budget": {"env_steps": steps}} for steps in tasks])
        with pytest.raises(UnsupportedError, match=r"has the budget 48 env steps, and was trained with 32 env steps"):
            planted(other, parent, tmp_path)
    longer = changed(short, stream__tasks=[{"budget": {"env_steps": steps}} for steps in (32, 48)])
    experiment, runs = continued_experiment(experiment_from(longer), find_runs(parent.path.parent), ())
    write_initial_checkpoint(experiment, runs[0], tmp_path, Console())
    assert "from 32 env steps to 48 env steps" in capsys.readouterr().out


def test_it_is_found_again_and_names_its_parent(tmp_path: Path) -> None:
    parent = run(SINGLE, tmp_path)
    long = changed(SINGLE, budget={"epochs": 3})
    first = continued(long, parent, tmp_path)
    again = continued(long, parent, tmp_path)
    assert (False, True) == (first.repeated, again.repeated)
    manifest = read_json(first.path / "manifest.json")
    experiment = experiment_from(SINGLE)
    expected = {"path": str(parent.path), "hash": experiment.hash, "seed": 0, "step": 2 * 15}
    assert {**expected, "step": manifest["parent"]["step"]} == manifest["parent"]
    costs = list(read_lines(first.path / "costs.jsonl"))
    assert [0] == [row["trained_on"] for row in costs]
    summary = read_json(first.path / "summary.json")
    assert costs[0]["seconds"] == pytest.approx(summary["seconds"], rel=0.2)


def test_it_can_be_continued_once_more(tmp_path: Path) -> None:
    whole = run(changed(SINGLE, budget={"epochs": 4}), tmp_path)
    second = continued(changed(SINGLE, budget={"epochs": 3}), run(SINGLE, tmp_path), tmp_path)
    third = continued(changed(SINGLE, budget={"epochs": 4}), second, tmp_path)
    assert differences(last_state(whole), last_state(third)) == []
    assert len({whole.path, second.path, third.path}) == 3


def test_seeds_are_those_of_the_runs_or_some_of_them(tmp_path: Path) -> None:
    parents = run_experiment(experiment_from(changed(SINGLE, seeds=[1, 3])), tmp_path, QUIET)
    long = changed(SINGLE, budget={"epochs": 3})
    assert (1, 3) == planted(long, parents[0], tmp_path).seeds
    assert (3,) == planted(long, parents[0], tmp_path, [3]).seeds
    with pytest.raises(RunFolderError, match="no run of seed 2; expected some of 1, 3"):
        planted(long, parents[0], tmp_path, [2])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget": {"epochs": 1}}, r"budget.epochs: 1, and .* had 2; set a larger budget"),
        ({"budget": {"updates": 900}}, r"budget.updates: 900, .* in another unit, 2 epochs; set more epochs"),
        ({}, r"nothing is left to do; set a larger one, for example budget.epochs=4"),
        ({"learner__batch_size": 50}, r"learner.batch_size: 50, and .* was trained with 100; a continued run"),
        ({"encoder": "identity"}, r"encoder.type: identity, and .* was trained with standardize"),
        ({"budget": {"epochs": 3}, "stream": {"type": "permuted", "experiences": 1}}, "stream has changed as well"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, changes: Mapping[str, Any], said: str) -> None:
    parent = run(SINGLE, tmp_path)
    with pytest.raises(ConfigError, match=said):
        planted(changed(SINGLE, **changes), parent, tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"stream__first_as_is": True}, r"experience 0 \(.*\) has other train data"),
        ({"stream__experiences": 3}, {"stream__experiences": 2}, "it has 2 experiences, and the run was trained on 3"),
        ({"learner__methods": [{"type": "ewc"}]}, {"budget": {"epochs": 4}}, "method ewc has consolidated it"),
        (
            {"learner": {"type": "nearest_mean"}, "budget": {"epochs": 1}, "evaluation": {}},
            {"budget": {"epochs": 2}},
            "epochs",
        ),
        ({"stream__visibility": {"boundaries": "hidden"}}, {"budget": {"epochs": 4}}, "boundaries: hidden"),
        ({"stream": {"type": "online"}, "budget": {"epochs": 1}}, {"budget": {"epochs": 4}}, "epochs"),
        (
            {"learner__early_stopping": {"patience": 1, "min_delta": 100, "every": 1}, "validation": 0.2},
            {"budget": {"epochs": 4}},
            "ended after 2 of .* updates by learner.early_stopping",
        ),
    ],
)
def test_what_the_stream_or_the_learner_cannot_do_is_refused(
    tmp_path: Path, before: Mapping[str, Any], after: Mapping[str, Any], said: str
) -> None:
    short = changed(PERMUTED, **before)
    parent = run(short, tmp_path)
    with pytest.raises(RlclError, match=said):
        planted(changed(short, **after), parent, tmp_path)
    (folder,) = [p.parent for p in tmp_path.rglob("config.yaml")]
    assert parent.path == folder


def test_without_its_parent_it_does_not_start_anew(tmp_path: Path) -> None:
    plain = changed(SINGLE, continued_from="0123456789ab")
    with pytest.raises(RunFolderError, match="start it with --continue-from RUN"):
        run(plain, tmp_path)


def test_an_unfinished_run_is_not_continued(tmp_path: Path) -> None:
    parent = run(SINGLE, tmp_path)
    (parent.path / "status.json").write_text(json.dumps({"state": "interrupted"}))
    with pytest.raises(RunFolderError, match="is interrupted, and only finished runs can be continued; finish it with"):
        planted(changed(SINGLE, budget={"epochs": 3}), parent, tmp_path)
