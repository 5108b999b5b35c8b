"""Runs of one process: what is found again, what is refused, and whose mistake an error is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlcl.commands import main
from rlcl.errors import DivergenceError, RunFolderError
from rlcl.experiment import Experiment, load_experiment
from rlcl.launch import seeds
from rlcl.launch.seeds import SeedsDiverged, run_experiment

QUIET = Console(quiet=True)

NETWORK = """
from torch import nn


class Net:
    def build(self, shape, outputs, tasks=1):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))
"""


def config(folder: Path, text: str) -> Experiment:
    path = folder / "experiment.yaml"
    path.write_text(text)
    return load_experiment(path)


def small(folder: Path, *changes: str) -> Experiment:
    (folder / "small.yaml").write_text(
        "name: small\nstream: {type: class_incremental, experiences: 2}\n"
        "learner: {type: classifier, network: {type: mlp, hidden: [8]}, batch_size: 64}\nbudget: {epochs: 1}\n"
    )
    return load_experiment(folder / "small.yaml", changes)


def test_stable_baselines3_runs_where_boundaries_are_hidden(tmp_path: Path) -> None:
    experiment = config(
        tmp_path,
        "name: hidden\nstream:\n  type: environments\n  env: CartPole-v1\n  visibility: {boundaries: hidden}\n"
        "  tasks: [{}, {attributes: {length: 1}}]\n"
        "learner: {type: sb3, algorithm: PPO, options: {n_steps: 64, n_epochs: 1}}\n"
        "budget: {env_steps: 128}\nevaluation: {episodes: 1}\n",
    )
    (finished,) = run_experiment(experiment, tmp_path / "runs", QUIET)
    assert (2, 2) == finished.outcome.R.shape
    assert {128, 256} == {r.step for r in finished.outcome.records if r.trained_on >= 0}


def test_tasks_may_differ_in_the_bounds_of_their_observations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "walk.py").write_text(
        "import gymnasium as gym\nimport numpy as np\n\n\n"
        "class Walk(gym.Env):\n    action_space = gym.spaces.Discrete(2)\n\n"
        "    def __init__(self, length=5):\n"
        "        self.observation_space = gym.spaces.Box(0.0, float(length), (1,), np.float32)\n\n"
        "    def reset(self, *, seed=None, options=None):\n        self.steps = 0\n"
        "        return np.zeros(1, np.float32), {}\n\n"
        "    def step(self, action):\n        self.steps += 1\n"
        "        return np.zeros(1, np.float32), 1.0, False, self.steps == 9, {}\n"
    )
    experiment = config(
        tmp_path,
        'name: bounds\nstream: {type: environments, env: "walk.py:Walk", tasks: [{}, {kwargs: {length: 7}}]}\n'
        "learner: {type: sb3, algorithm: PPO, options: {n_steps: 32, batch_size: 32, n_epochs: 1}}\n"
        "budget: {env_steps: 32}\nevaluation: {episodes: 1}\n",
    )
    (finished,) = run_experiment(experiment, tmp_path / "runs", QUIET)
    assert [[9, 9], [9, 9]] == finished.outcome.R.tolist()


def test_an_edited_component_is_another_experiment_and_a_moved_one_is_not(tmp_path: Path) -> None:
    hashes = []
    for folder, text in (("a", NETWORK), ("b", NETWORK), ("c", NETWORK.replace("64,", "64 * 1,"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(text)
        network = f"learner.network={{extends: null, type: '{tmp_path / folder}/net.py:Net'}}"
        hashes.append(small(tmp_path, network).hash)
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def test_another_metric_of_the_same_records_repeats_nothing(tmp_path: Path) -> None:
    run_experiment(small(tmp_path), tmp_path / "runs", QUIET)
    again = small(tmp_path, "evaluation.metrics=[accuracy.average]")
    (finished,) = run_experiment(again, tmp_path / "runs", QUIET)
    assert finished.repeated
    assert {"accuracy.average"} == set(finished.outcome.metrics)


def test_a_lost_summary_is_written_again_from_the_last_checkpoint(tmp_path: Path) -> None:
    (first,) = run_experiment(small(tmp_path), tmp_path / "runs", QUIET)
    (first.path / "summary.json").write_text("{")
    (second,) = run_experiment(small(tmp_path), tmp_path / "runs", QUIET)
    assert first.outcome.records == second.outcome.records
    assert first.outcome.metrics == json.loads((second.path / "summary.json").read_text())["metrics"]


def test_a_run_goes_not_on_with_other_data(tmp_path: Path) -> None:
    (finished,) = run_experiment(small(tmp_path), tmp_path / "runs", QUIET)
    (finished.path / "summary.json").unlink()
    manifest = json.loads((finished.path / "manifest.json").read_text())
    (finished.path / "manifest.json").write_text(json.dumps({**manifest, "data": "another"}))
    with pytest.raises(RunFolderError, match=r"the data of .* have changed since the run started"):
        run_experiment(small(tmp_path), tmp_path / "runs", QUIET)


def test_each_start_stands_in_the_manifest(tmp_path: Path) -> None:
    (finished,) = run_experiment(small(tmp_path), tmp_path / "runs", QUIET)
    (finished.path / "summary.json").unlink()
    run_experiment(small(tmp_path), tmp_path / "runs", QUIET)
    manifest = json.loads((finished.path / "manifest.json").read_text())
    assert 2 == len(manifest["sessions"])
    assert 2 == manifest["format"]


BROKEN = {
    "data raises": (
        "from rlcl.types import DataSet\nclass Broken(DataSet):\n    def load(self):\n"
        "        raise RuntimeError('no luck')\n",
        "stream.data",
        "broken.py:4: load raised RuntimeError: no luck",
    ),
    "data returns nothing": (
        "from rlcl.types import DataSet\nclass Broken(DataSet):\n    def load(self):\n        return None\n",
        "stream.data",
        "load() must return rlcl.data.sources.Data, got NoneType",
    ),
    "data lacks load": ("class Broken:\n    pass\n", "stream.data", "lacks load, which every data has"),
    "network raises": (
        "class Broken:\n    def build(self, shape, outputs, tasks):\n        return 1 / 0\n",
        "learner.network",
        "broken.py:3: build raised ZeroDivisionError",
    ),
    "network returns nothing": (
        "class Broken:\n    def build(self, shape, outputs, tasks):\n        pass\n",
        "learner.network",
        "build must return a torch.nn.Module, got NoneType",
    ),
    "network of another width": (
        "from torch import nn\nclass Broken:\n    def build(self, shape, outputs, tasks):\n"
        "        return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n",
        "learner.network",
        "expected outputs of shape (B, 10), got (B, 3)",
    ),
    "network for another shape": (
        "from torch import nn\nclass Broken:\n    def build(self, shape, outputs, tasks):\n"
        "        return nn.Sequential(nn.Flatten(), nn.Linear(63, outputs))\n",
        "learner.network",
        "does not support inputs of shape (1, 8, 8)",
    ),
    "encoder lacks members": (
        "class Broken:\n    def encode(self, x):\n        return x\n",
        "encoder",
        "lacks fit, load_state_dict, shape, state_dict",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_component_of_ones_own_that_fails_is_told_by_place(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, key, said = BROKEN[case]
    monkeypatch.chdir(tmp_path)
    small(tmp_path)
    (tmp_path / "broken.py").write_text(code)
    with pytest.raises(SystemExit) as ended:
        main(["run", "small.yaml", f"{key}={{extends: null, type: 'broken.py:Broken'}}", "-q"])
    assert ended.value.code in (1, 2)
    assert said in capsys.readouterr().err


def test_a_bug_of_rlcls_own_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise KeyError("a bug")

    small(tmp_path)
    monkeypatch.setattr("rlcl.launch.seed_run.make_stream", fail)
    monkeypatch.setattr("rlcl.error_origin._is_user_code", lambda filename: False)
    with pytest.raises(KeyError, match="a bug"):
        main(["run", str(tmp_path / "small.yaml"), "--root", str(tmp_path / "runs"), "-q"])
    (log,) = (tmp_path / "runs").glob("*/*/seed0/log.txt")
    assert "KeyError: 'a bug'" in log.read_text()


def test_a_learner_sees_neither_test_data_nor_what_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "peek.py").write_text(
        "import torch\nfrom rlcl.types import Learner, Position\n\n\n"
        "class Peek(Learner):\n    measures = ('accuracy',)\n    resumable_within = False\n\n"
        "    def __init__(self):\n        self.position = Position()\n\n"
        "    def prepare(self, setup):\n"
        "        assert all(e.test is None and len(e.validation) > 0 for e in setup.stream)\n"
        "        assert all(e.task_id is None for e in setup.stream)\n"
        "        assert () == setup.spec.task_classes\n\n"
        "    def learn(self, experience):\n        assert experience.test is None and experience.task_id is None\n"
        "        self.position.begin(experience)\n        self.position.end(experience)\n        yield None\n\n"
        "    def predict(self, x, task_id=None, state=None):\n        assert task_id is None\n"
        "        return torch.zeros(len(x), dtype=torch.int64), None\n\n"
        "    def state_dict(self):\n        return {}\n\n    def load_state_dict(self, state):\n        pass\n"
    )
    experiment = small(tmp_path, "learner={extends: null, type: 'peek.py:Peek'}", "validation=0.1")
    (finished,) = run_experiment(experiment, tmp_path / "runs", QUIET)
    assert finished.outcome.metrics


def test_a_seed_that_diverges_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = seeds.run_seed

    def run_seed(experiment: Any, seed: int, root: Path, console: Any) -> Any:
        if seed == 1:
            raise DivergenceError("the loss is nan")
        return real(experiment, seed, root, console)

    monkeypatch.setattr(seeds, "run_seed", run_seed)
    with pytest.raises(SeedsDiverged, match=r"1 of 3 seeds diverged\nseed 1: the loss is nan") as raised:
        run_experiment(small(tmp_path, "seeds=[0, 1, 2]"), tmp_path / "runs", QUIET)
    assert ["seed0", "seed2"] == [f.path.name for f in raised.value.finished]


def test_each_line_of_the_log_has_its_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(f"at {n}" for n in range(100))
    monkeypatch.setattr("rlcl.sinks.log._now", lambda: next(times))
    (finished,) = run_experiment(small(tmp_path), tmp_path / "runs", QUIET)
    lines = [line.split("  ")[0] for line in (finished.path / "log.txt").read_text().splitlines()]
    assert len(lines) > 1
    assert len(set(lines)) == len(lines)
