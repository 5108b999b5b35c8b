"""Results of Stable-Baselines3 and Avalanche as run folders, which are compared with runs of our own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.monitor import Monitor

from rlcl.commands import main
from rlcl.tracking.folder import read_events, read_records

CARTPOLE: Mapping[str, Any] = {
    "name": "cart",
    "stream": {"type": "environments", "env": "CartPole-v1"},
    "learner": {"type": "ppo", "n_steps": 64, "network": {"type": "mlp", "hidden": [8]}},
    "budget": {"env_steps": 128},
    "evaluation": {"every": {"env_steps": 64}, "episodes": 2},
    "seeds": [0, 1],
    "sinks": [],
}
DIGITS: Mapping[str, Any] = {
    "name": "digits",
    "stream": {"type": "class_incremental", "data": "digits", "experiences": 2},
    "encoder": "scale",
    "learner": "classifier",
    "budget": {"epochs": 2},
}
# What CSVLogger wrote of a real run on these two experiences.
EVALUATIONS = """eval_exp,training_exp,eval_accuracy,eval_loss,forgetting
0,None,0.1818,2.3098,0
1,None,0.0151,2.3131,0
0,0,0.8788,0.4789,0
1,0,0.0000,5.6455,0
0,1,0.0000,3.8781,0.8788
1,1,0.8744,0.5528,0
"""
TRAINING = """training_exp,epoch,training_accuracy,val_accuracy,training_loss,val_loss
0,0,0.6472,0,1.3807,0
0,1,0.9218,0,0.6121,0
1,0,0.5323,0,1.8128,0
1,1,0.8910,0,0.6813,0
"""
MONITOR = '#{{"t_start": {start}, "env_id": "CartPole-v1"}}\nr,l,t\n{rows}\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cart.json").write_text(json.dumps(CARTPOLE))
    (tmp_path / "digits.json").write_text(json.dumps(DIGITS))
    return tmp_path


def rlcl(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def the_run(name: str, seed: int = 0) -> Path:
    (found,) = (
        path.parent
        for path in Path("runs", name).glob(f"*/seed{seed}/manifest.json")
        if "imported" in json.loads(path.read_text())
    )
    return found


def csv_logger(folder: Path, evaluations: str = EVALUATIONS) -> Path:
    folder.mkdir()
    (folder / "eval_results.csv").write_text(evaluations)
    (folder / "training_results.csv").write_text(TRAINING)
    return folder


def test_a_run_of_stable_baselines3_is_compared_with_one_of_ours(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        folder = f"logs/run_{seed}"
        Path(folder).mkdir(parents=True)
        evaluation = Monitor(gym.make("CartPole-v1"))
        watch = EvalCallback(evaluation, n_eval_episodes=2, eval_freq=64, log_path=folder, verbose=0)
        training = Monitor(gym.make("CartPole-v1"), f"{folder}/0")
        PPO("MlpPolicy", training, n_steps=64, seed=seed, device="cpu").learn(128, callback=watch)
        training.close()
    assert 0 == rlcl("runs", "import", "logs/run_0", "logs/run_1", "--on", "cart.json", "--learner", "SB3 PPO")
    with np.load("logs/run_1/evaluations.npz") as content:
        returns, steps = content["results"].mean(1), content["timesteps"]
    records = [(r.step, r.value) for r in read_records(the_run("cart", 1)) if r.metric == "return"]
    assert list(zip(steps.tolist(), returns.tolist(), strict=True)) == records
    assert 0 == rlcl("run", "cart.json", "--quiet")
    capsys.readouterr()
    assert 0 == rlcl("compare", "runs/cart", "--json")
    compared = json.loads(capsys.readouterr().out)
    text = json.dumps(compared)
    assert "SB3 PPO" in text
    assert str(returns[-1]) in text
    assert "2 runs were imported from another library" in text
    assert 0 == rlcl("report", "runs/cart")


def test_a_matrix_of_avalanche_has_its_metrics(here: Path) -> None:
    folder = csv_logger(here / "csvlogs")
    assert 0 == rlcl("runs", "import", str(folder), "--on", "digits.json", "--learner", "Naive")
    run = the_run("digits")
    summary = json.loads((run / "summary.json").read_text())
    assert [[0.8788, 0.0], [0.0, 0.8744]] == summary["R"]
    assert pytest.approx(0.8744 / 2) == summary["metrics"]["accuracy.average"]
    assert pytest.approx(0.8788) == summary["metrics"]["forgetting.chaudhry"]
    assert [(0, -1, 0), (2, 0, 0), (4, 1, 0)] == [
        (r.step, r.trained_on, r.evaluated_on) for r in read_records(run) if r.evaluated_on == 0
    ]
    assert [1.3807, 0.6121, 1.8128, 0.6813] == [event["loss"] for event in read_events(run)]
    assert ["digits 0-4", "digits 5-9"] == summary["experiences"]


def test_episodes_of_parallel_environments_are_counted_in_the_order_of_their_ends(here: Path) -> None:
    logs = here / "logs"
    logs.mkdir()
    (logs / "0.monitor.csv").write_text(MONITOR.format(start=100.0, rows="1,10,1.0\n3,20,4.0"))
    (logs / "1.monitor.csv").write_text(MONITOR.format(start=101.0, rows="5,30,1.0"))
    options = ("--on", "cart.json", "--learner", "x", "--training-episodes", "2")
    assert 0 == rlcl("runs", "import", "logs", *options)
    run = the_run("cart")
    events = [(event["step"], event["episode_return"]) for event in read_events(run)]
    assert [(10, 1.0), (40, 5.0), (60, 3.0)] == events
    (record,) = read_records(run)
    assert (60, 4.0) == (record.step, record.value)
    assert 4.0 == json.loads((run / "summary.json").read_text())["seconds"]


def test_the_same_results_are_imported_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(csv_logger(here / "csvlogs"))
    command = ("runs", "import", folder, "--on", "digits.json", "--learner", "Naive")
    assert [0, 0] == [rlcl(*command), rlcl(*command)]
    assert "already imported" in capsys.readouterr().out
    (here / "csvlogs" / "eval_results.csv").write_text(EVALUATIONS.replace("0.8744", "0.5"))
    assert 1 == rlcl(*command)
    assert "contains other results for Naive with seed 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "on", "message"),
    [
        ({}, "cart.json", "contains no results: expected evaluations.npz"),
        ({"monitor.csv": MONITOR.format(start=0, rows="1,1,1")}, "cart.json", "--training-episodes N"),
        ({"monitor.csv": "r,l,t\n1,1,1\n"}, "cart.json", "monitor.csv:1 is damaged"),
        ({"monitor.csv": MONITOR.format(start=0, rows="1,1,1\n1,x,1")}, "cart.json", "monitor.csv:4 is damaged"),
        ({"evaluations.npz": "no archive"}, "cart.json", "evaluations.npz cannot be read"),
        ({"eval_results.csv": EVALUATIONS}, "cart.json", "contains 2 trained and 2 evaluated experiences"),
        ({"a/eval_results.csv": EVALUATIONS, "b/eval_results.csv": ""}, "digits.json", "the results of 2 runs"),
        ({"eval_results.csv": "eval_exp,training_exp\n0,0\n"}, "digits.json", "eval_results.csv:2 is damaged"),
        ({"eval_results.csv": EVALUATIONS.replace("0.", "0.0000#")}, "digits.json", "is damaged"),
        (
            {"eval_results.csv": "eval_exp,training_exp,eval_accuracy\n0,0,0\n1,0,0\n"},
            "digits.json",
            "contains no accuracy",
        ),
    ],
)
def test_bad_results_are_one_message(
    files: Mapping[str, str], on: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = here / "results"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    assert 1 == rlcl("runs", "import", "results", "--on", on, "--learner", "x")
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "Traceback" not in error
    assert not (here / "runs").exists()
