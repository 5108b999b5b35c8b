"""Experiments that begin with the weights of another run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import acting_learners, differences
from rich.console import Console

from rlcl.commands import main
from rlcl.errors import ConfigError, RlclError
from rlcl.experiment import dump, experiment_from, load_experiment
from rlcl.launch.build import make_trainer
from rlcl.launch.finished_run import FinishedRun
from rlcl.launch.initial_state import load_initial_state
from rlcl.launch.restored_run import restore_run
from rlcl.launch.seeds import run_experiment
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import find_runs
from rlcl.training import checkpoint

QUIET = Console(quiet=True)
MLP = {"type": "mlp", "hidden": [8]}
DIGITS: Mapping[str, Any] = {
    "name": "digits",
    "stream": {"type": "single"},
    "encoder": "standardize",
    "learner": {"type": "classifier", "network": MLP, "optimizer": {"type": "adam", "lr": 0.01}, "batch_size": 100},
    "budget": {"epochs": 1},
    "evaluation": {"before": True},
}
ACTING: Mapping[str, Any] = {
    "name": "acting",
    "stream": {"type": "environments", "env": "CartPole-v1"},
    "budget": {"env_steps": 32},
    "evaluation": {"episodes": 1},
}
SMALL = {"learning_starts": 8, "batch_size": 8}
ACTORS: Mapping[str, Any] = {
    "ppo": {"type": "ppo", "network": MLP, "n_steps": 16, "batch_size": 16, "epochs": 1},
    "dqn": {"type": "dqn", "network": MLP, **SMALL, "capacity": 60},
    "sac": {"type": "sac", "network": MLP, **SMALL, "capacity": 60},
    "td3": {"type": "td3", "network": MLP, **SMALL, "capacity": 60},
    "sb3 PPO": {"type": "sb3", "algorithm": "PPO", "options": {"n_steps": 16, "batch_size": 16, "n_epochs": 1}},
    "sb3 SAC": {"type": "sb3", "algorithm": "SAC", "options": {**SMALL, "buffer_size": 60}},
    "sb3 DQN": {"type": "sb3", "algorithm": "DQN", "options": {**SMALL, "buffer_size": 60}},
}
CONTINUOUS = ("sac", "td3", "sb3 SAC")


def test_every_learner_that_acts_is_here() -> None:
    assert acting_learners() == {actor["type"] for actor in ACTORS.values()}


def run(plain: Mapping[str, Any], root: Path) -> FinishedRun:
    return run_experiment(experiment_from(plain), root, QUIET)[0]


def begun(plain: Mapping[str, Any], seed: int = 0) -> Any:
    """A trainer as a run begins with it."""
    experiment = experiment_from(plain)
    return make_trainer(experiment, seed, start=load_initial_state(experiment, seed))


def networks(learner: Any, state: Mapping[str, Any]) -> Any:
    return learner.networks_in(state)


def left(finished: FinishedRun) -> Mapping[str, Any]:
    found = checkpoint.load_newest(finished.path / "checkpoints", pytest.fail)
    assert found is not None
    state: Mapping[str, Any] = found[1]["trainer"]["learner"]
    return state


def test_it_begins_with_the_weights_and_the_encoder_and_nothing_else(tmp_path: Path) -> None:
    parent = run(DIGITS, tmp_path)
    learner = begun({**DIGITS, "initial": {"run": str(parent.path)}}).learner
    state, found = left(parent), learner.state_dict()
    assert differences(networks(learner, state), networks(learner, found)) == []
    assert differences(state["encoder"], found["encoder"]) == []
    assert found["update"]["optimizer"]["state"] == {}
    assert found["position"]["step"] == 0


def test_its_first_evaluation_is_the_last_one_of_the_other_run(tmp_path: Path) -> None:
    parent = run(DIGITS, tmp_path)
    child = run({**DIGITS, "initial": {"run": str(parent.path.parent)}}, tmp_path)
    before = next(r.value for r in child.outcome.records if r.trained_on == -1)
    assert parent.outcome.R[0, 0] == before
    assert {"path": str(parent.path), "hash": parent.path.parent.name, "seed": 0} == read_json(
        child.path / "manifest.json"
    )["initial"]


@pytest.mark.parametrize("name", ACTORS)
def test_learners_that_act_begin_with_them_too_targets_included(tmp_path: Path, name: str) -> None:
    env = "Pendulum-v1" if name in CONTINUOUS else "CartPole-v1"
    plain = {**ACTING, "learner": ACTORS[name], "stream": {"type": "environments", "env": env}}
    parent = run(plain, tmp_path)
    learner = begun({**plain, "initial": {"run": str(parent.path)}}, seed=0).learner
    found = learner.state_dict()
    assert differences(networks(learner, left(parent)), networks(learner, found)) == []
    for key, target in found.get("learner", {}).get("targets", {}).items():
        assert differences(found["modules"][key], target) == []


def test_methods_take_the_weights_for_the_initial_ones(tmp_path: Path) -> None:
    parent = run(DIGITS, tmp_path)
    learner = {**DIGITS["learner"], "methods": [{"type": "l2_init"}]}
    state = begun({**DIGITS, "learner": learner, "initial": {"run": str(parent.path)}}).learner.state_dict()
    anchors = state["methods"][0]["network"]["anchor"]
    assert differences(left(parent)["module"], anchors) == []


def test_some_weights_are_taken_and_the_others_drawn(tmp_path: Path) -> None:
    wine = {**DIGITS, "stream": {"type": "single", "data": "wine"}, "encoder": "identity"}
    parent, fresh = run(DIGITS, tmp_path), begun(DIGITS).learner.state_dict()["module"]
    initial = {"run": str(parent.path), "parameters": ["network.1.*"]}
    state, found = left(parent)["module"], begun({**DIGITS, "initial": initial}).learner.state_dict()["module"]
    taken = {name for name in state if torch.equal(state[name], found[name])}
    assert {name for name in state if name.startswith("1.")} == taken
    assert {name for name in state if torch.equal(fresh[name], found[name])} == set(state) - taken
    with pytest.raises(RlclError, match=r"network.1.weight is of shape \(8, 64\) in .* and of shape \(8, 13\) in this"):
        begun({**wine, "initial": {**initial, "encoder": "own"}})


def test_it_counts_by_what_it_is_and_not_where_it_lies(tmp_path: Path) -> None:
    parent = run(DIGITS, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one, other = (
        experiment_from({**DIGITS, "initial": {"run": str(tmp_path / place / parent.path.relative_to(tmp_path / "a"))}})
        for place in "ab"
    )
    assert one.hash == other.hash
    assert len({one.hash, experiment_from(DIGITS).hash, parent.path.parent.name}) == 2
    second = run({**DIGITS, "budget": {"epochs": 2}}, tmp_path / "a")
    assert one.hash != experiment_from({**DIGITS, "initial": {"run": str(second.path)}}).hash


def test_a_run_is_read_and_restored_when_the_other_one_is_gone(tmp_path: Path) -> None:
    parent = run(DIGITS, tmp_path / "a")
    plain = {**DIGITS, "initial": {"run": str(parent.path)}}
    child = run(plain, tmp_path / "b")
    text = dump(load_experiment(child.path / "config.yaml"))
    shutil.rmtree(tmp_path / "a")
    assert dump(load_experiment(child.path / "config.yaml")) == text
    (found,) = find_runs(child.path)
    assert restore_run(found).trainer.learner.position.step > 0
    with pytest.raises(ConfigError, match=r"initial.run: no run in .*; expected a folder such as"):
        experiment_from(plain)


def test_each_seed_takes_its_own_or_all_take_one(tmp_path: Path) -> None:
    parents = run_experiment(experiment_from({**DIGITS, "seeds": [1, 2]}), tmp_path, QUIET)
    plain = {**DIGITS, "initial": {"run": str(parents[0].path.parent)}}
    same = [begun(plain, seed).learner.state_dict()["module"] for seed in (1, 2)]
    assert [[], []] == [differences(left(p)["module"], m) for p, m in zip(parents, same, strict=True)]
    one = {**plain, "initial": {**plain["initial"], "seed": 2}}
    assert differences(same[1], begun(one, 7).learner.state_dict()["module"]) == []
    with pytest.raises(RlclError, match=r"initial.seed: same: .* has no run of seed 7; it has seed1, seed2"):
        begun(plain, 7)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder": "identity"}, r"encoder: .*identity.*, but the weights of .* were trained with .*standardize"),
        ({"learner": {"type": "nearest_mean"}}, "initial: learner nearest_mean does not support initial weights"),
        ({"learner": {"type": "classifier"}}, r"initial: network.1.weight is of shape \(8, 64\) in .* and of shape"),
        ({"initial": {"parameters": ["policy.*"]}}, r"initial.parameters\[0\]: no parameter 'policy.\*' in that run"),
        ({"initial": {"of": "0123456789ab"}}, "belongs to the experiment .*, expected 0123456789ab"),
        (
            {"stream": {"type": "single", "data": "wine"}, "initial": {"parameters": ["*.1.bias"]}},
            "initial.encoder: the state",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: Mapping[str, Any], said: str
) -> None:
    parent = run(DIGITS, tmp_path)
    plain = {**DIGITS, **changes, "initial": {"run": str(parent.path), **changes.get("initial", {})}}
    (tmp_path / "child.yaml").write_text(json.dumps(plain))
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path / "child.yaml")])
    assert ended.value.code in (1, 2)
    captured = capsys.readouterr()
    assert re.search(said, captured.err), captured.err
    assert "Traceback" not in captured.err


def test_a_run_without_networks_is_no_beginning(tmp_path: Path) -> None:
    parent = run({**DIGITS, "learner": {"type": "nearest_mean"}}, tmp_path)
    with pytest.raises(
        RlclError, match="trained the learner nearest_mean, which has no networks whose weights can be loaded"
    ):
        begun({**DIGITS, "initial": {"run": str(parent.path)}})


def test_an_unfinished_run_is_no_beginning(tmp_path: Path) -> None:
    parent = run(DIGITS, tmp_path)
    (parent.path / "status.json").write_text(json.dumps({"state": "running"}))
    with pytest.raises(RlclError, match="is crashed; finish it first: rlcl run"):
        begun({**DIGITS, "initial": {"run": str(parent.path)}})
