"""A user's mistake is one clear message and an exit status, never a traceback."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rlcl.commands import main
from rlcl.training import checkpoint

GOOD = """
name: good
stream: {type: class_incremental, data: {type: digits}, experiences: 2}
encoder: {type: standardize}
learner: {type: classifier, network: {type: mlp, hidden: [16]}, batch_size: 64}
budget: {epochs: 1}
"""

TEN_MISTAKES = """\
name: ten mistakes
seeds: [0, 0.5]
stream:
  type: class_incrementl
encoder: {type: standardize, clipp: 3}
learner:
  type: classifier
  network: {type: mlp, hidden: [256, 0]}
  optimizer: {type: adam, learning_rate: 1e-3}
  batch_size: 32.5
  methods:
    - {type: replay, capacity: 200}
    - {type: ewc, strength: -1}
budget: {epochs: 5, updates: 3}
"""

ENVIRONMENTS = """
import gymnasium as gym
import numpy as np


class Good(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (3,))
    action_space = gym.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(3, np.float32), 1.0, False, self.steps % 10 == 0, {}


class WrongShape(Good):
    def reset(self, *, seed=None, options=None):
        return np.zeros(4, np.float32), {}


class WrongType(Good):
    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float64), {}


class NoInfo(Good):
    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32)


class Outside(Good):
    def reset(self, *, seed=None, options=None):
        return np.full(3, 2, np.float32), {}


class NanLater(Good):
    def step(self, action):
        self.steps += 1
        reward = float("nan") if self.steps > 50 else 1.0
        return np.zeros(3, np.float32), reward, False, self.steps % 10 == 0, {}
"""

RL = """
name: rl
stream: {{type: environments, env: "{env}"}}
learner: {{type: sb3, algorithm: PPO, options: {{n_steps: 64, n_epochs: 1}}}}
budget: {{env_steps: 64}}
evaluation: {{episodes: 1}}
"""


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status, and what went to standard error."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


def test_ten_mistakes_get_ten_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ten.yaml"
    path.write_text(TEN_MISTAKES)
    status, said = call(capsys, "check", path)
    assert status == 2
    lines = said.splitlines()
    assert len(lines) == 10
    for line, (number, key, remedy) in zip(
        lines,
        [
            (1, "name", "expected a folder name"),
            (2, "seeds[1]", "whole number"),
            (4, "stream.type", "class_incremental"),
            (5, "encoder.clipp", "clip"),
            (8, "learner.network.hidden[1]", "at least 1"),
            (9, "learner.optimizer.learning_rate", "lr"),
            (10, "learner.batch_size", "whole number of at least 1, got 32.5"),
            (12, "learner.methods[0].type", "rehearsal"),
            (13, "learner.methods[1].strength", "at least 0, got -1"),
            (14, "budget", "exactly one of"),
        ],
        strict=True,
    ):
        assert f"ten.yaml:{number}: {key}: " in line
        assert remedy in line


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ("learner.methods=[{type: ewc}, {type: ewc}]", 2, "learner.methods[1]: ewc is listed twice; remove one"),
        ("learner.methods=[{type: rehearsal, capacity: 0}]", 2, "learner.methods[0].capacity: expected a whole number"),
        ("learner.methods=[{type: a_gem, capacity: 0}]", 2, "capacity: expected a whole number of at least 1"),
        ("learner.methods=[{type: der, capacity: 9, capacity_bytes: 9}]", 2, "got capacity, capacity_bytes"),
        (
            "learner={extends: null, type: gdumb}",
            2,
            "learner: expected exactly one of capacity, capacity_bytes; got none",
        ),
        (
            "learner={extends: null, type: icarl, capacity: 9, stored: ra}",
            2,
            "learner.stored: expected one of encoded, raw, got 'ra'",
        ),
        ("learner.methods=[{type: si, strength: -1}]", 2, "learner.methods[0].strength: expected a number of at least"),
        ("boundary.optimiser=reset", 2, "boundary.optimiser: unknown key; did you mean optimizer?"),
        ("boundary.encoder=reset", 2, "boundary.encoder: expected one of keep, refit, freeze, got 'reset'"),
        ("boundary.memory=reset", 2, "boundary.memory: reset is not possible: learner classifier: none of its methods"),
        ("learner.type=autoencodr", 2, "did you mean autoencoder?"),
        ("budget={env_steps: 5}", 2, "arrays have no env steps; use epochs, updates or samples"),
        ("evaluation.every={env_steps: 5}", 2, "set {updates: N}"),
        ("evaluation.metrics=[acuracy.average]", 2, "did you mean accuracy.average"),
        ("evaluation.split=validation", 2, "set validation"),
        ("stream.experiences=11", 2, "expected at most 10"),
        ("device=cuda:7", 2, "does not exist"),
        ("learner.network={extends: null, type: multihead}", 2, "visibility.task_ids: visible"),
        ("stream={extends: null, type: environments, env: CartPole-v1}", 2, "classifier learns from labelled streams"),
        ("learner.optimizer.lr=1e30", 5, "in experience 0 (digits 0-4)"),
        ("nosuch.key=3", 2, "nosuch"),
        (
            "learner.optimizer={extends: null, type: sgd, nesterov: true}",
            2,
            "learner.optimizer.nesterov: true needs a momentum",
        ),
        ("objective={success: ['acuracy.average >= 0.5']}", 2, "objective.success[0]: no metric 'acuracy.average'"),
        ("stream={extends: null, type: environments, env: envs.py}", 2, "write envs.py:Class"),
        (
            "learner.extends=null",
            2,
            "learner.extends: it must be set together with the type; write learner={extends: null, ...}",
        ),
        ("learner.methods=!!int abc", 2, "learner.methods: not valid YAML: invalid literal for int()"),
        ("learner.methods=!!python/object:os.system {}", 2, "python/object:os.system has no meaning here; remove it"),
        ("learner.batch_size=" + "[" * 10_000, 2, "learner.batch_size: deeper than 40 levels"),
        ("learner.batch_size=" + "9" * 30, 2, "learner.batch_size: expected a number of at most"),
        ("learner.batch_size=1e+308", 2, "learner.batch_size: expected a number of at most"),
        ("learner.network.hidden[0]=1e+308", 2, "learner.network.hidden[0]: expected a number of at most"),
        (
            "learner.network.hidden=[16, 100000000000]",
            2,
            "learner.network.hidden[1]: 100,000,000,000 needs too much memory: 5,960.5 GiB at once, and this machine",
        ),
        (
            "learner.methods=[{type: rehearsal, capacity: 1000000000000000}]",
            2,
            "learner.methods[0].capacity: 1,000,000,000,000,000 needs too much memory: ",
        ),
    ],
)
def test_a_mistake_is_one_message(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, status: int, said: str
) -> None:
    found, message = call(capsys, "run", good, change, "--root", tmp_path / "runs", "-q")
    assert said in message
    assert status == found
    assert message.count("\n") == 1


RL_SIZES = [
    (
        "learner={type: ppo, n_steps: 1000000000000}",
        "learner.n_steps: 1,000,000,000,000 needs too much memory: 14.6 TiB",
    ),
    (
        "learner={type: dqn, capacity: 1000000000000000}",
        "learner.capacity: 1,000,000,000,000,000 needs too much memory",
    ),
    (
        "learner={type: dqn, gradient_steps: 1000000000}",
        "learner.gradient_steps: expected a whole number of at least -1 and of at most 10000",
    ),
    (
        "learner={type: ppo, epochs: 1000000000}",
        "learner.epochs: expected a whole number of at least 1 and of at most 10000",
    ),
    ("stream.env=CartPol-v1", "environment 'CartPol-v1' cannot be made: "),
    ("stream.tasks=[{kwargs: {gravitas: 3}}]", "environment 'CartPole-v1': kwargs {'gravitas': 3} are not accepted"),
    ("stream.tasks=[{attributes: {gravitas: 3}}]", "environment CartPole-v1 has no attribute 'gravitas'"),
    ("stream.vectorization=native", "use vectorization: sync"),
]


@pytest.mark.parametrize(("change", "said"), RL_SIZES)
def test_a_fault_of_a_config_of_environments_has_the_status_of_one(
    change: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rl.yaml").write_text(
        RL.format(env="CartPole-v1")
        .replace("sb3, algorithm: PPO", "ppo")
        .replace("options: {n_steps: 64, n_epochs: 1}", "n_steps: 64")
    )
    change = change.replace("{type", "{extends: null, type")
    found, message = call(capsys, "run", tmp_path / "rl.yaml", change, "--root", tmp_path / "runs", "-q")
    assert said in message
    assert 2 == found


@pytest.mark.parametrize(
    "text", ["x: !!int abc", "x: " + "[" * 10_000, "x: !!python/object:os.system {}", "? [a]\n: 1"]
)
def test_a_file_that_yaml_itself_refuses_is_one_message(
    text: str, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good.write_text(good.read_text() + text + "\n")
    status, message = call(capsys, "check", good)
    assert (2, 1) == (status, message.count("\n"))
    assert "good.yaml" in message


@pytest.mark.parametrize("name", ["x" * 5000, "folder"])
def test_what_is_no_file_is_one_message(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    status, message = call(capsys, "check", tmp_path / name)
    assert (2, 1) == (status, message.count("\n"))
    assert len(message) < 1000  # of a long name the beginning; of a folder, what is shipped beside


def test_a_checkpoint_of_something_else_is_refused_before_records_are_cut_to_it(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "runs"
    call(capsys, "run", good, "--root", root, "-q")
    (folder,) = root.glob("good/*/seed0")
    newest = max((folder / "checkpoints").iterdir())
    state = checkpoint.load(newest)
    checkpoint.save(newest.parent, int(newest.name), {**state, "lengths": {"records": 5}, "clock": {"total": 3}})
    (folder / "status.json").write_text('{"state": "interrupted"}')
    before = (folder / "records.jsonl").read_bytes()
    status, message = call(capsys, "run", good, "--root", root, "-q")
    assert 1 == status
    assert "does not hold the state of this run" in message
    assert "rlcl runs rm" in message
    assert before == (folder / "records.jsonl").read_bytes()


def test_records_altered_after_a_run_are_not_read_as_its_own(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "runs"
    call(capsys, "run", good, "--root", root, "-q")
    (file,) = root.glob("good/*/seed0/records.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-3]))
    for arguments in (["run", good, "-q"], ["report", "good"], ["compare", "good"]):
        status, message = call(capsys, *arguments, "--root", root)
        assert 1 == status
        assert "records.jsonl was truncated or modified after it was written" in message
        assert "rlcl runs rm" in message


@pytest.mark.parametrize("method", ["packnet", "xdg"])
@pytest.mark.parametrize("shown", ["hidden", "training", "evaluation"])
def test_check_refuses_masks_by_task_where_task_ids_are_not_shown(
    good: Path, capsys: pytest.CaptureFixture[str], method: str, shown: str
) -> None:
    changes = [f"learner.methods=[{{type: {method}}}]", f"stream.visibility.task_ids={shown}"]
    status, message = call(capsys, "check", good, *changes)
    assert status == 2
    assert f"learner.methods[0]: {method} does not support learner classifier" in message
    assert "this stream hides task ids in training or at evaluation; set stream.visibility.task_ids: visible" in message


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ("CartPol-v1", "did you mean CartPole-v1"),
        ("envs.py:WrongShape", "its shape is (4,), expected (3,)"),
        ("envs.py:WrongType", "dtype float64, expected a NumPy array of float32"),
        ("envs.py:NoInfo", "reset must return (observation, info)"),
        ("envs.py:Outside", "widen the space or clip the observation"),
        ("envs.py:NanLater", "the environment returned rewards that are not finite at env step 64, in experience 0"),
        ("envs.py:Godo", "did you mean Good?"),
        ("nofile.py:Env", "no file nofile.py"),
    ],
)
def test_a_broken_environment_is_told_before_training(
    env: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs.py").write_text(ENVIRONMENTS)
    (tmp_path / "rl.yaml").write_text(RL.format(env=env))
    status, message = call(capsys, "run", "rl.yaml", "-q")
    assert status in (1, 2, 5)
    assert said in message


def test_a_good_environment_of_ones_own_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs.py").write_text(ENVIRONMENTS)
    (tmp_path / "rl.yaml").write_text(RL.format(env="envs.py:Good"))
    status, message = call(capsys, "run", "rl.yaml", "-q")
    assert (0, "") == (status, message)


ODD = """
import numpy as np
from rlcl.data.sources import Data
from rlcl.methods.l2 import L2
from rlcl.types import DataSet

x = np.ones((6, 2), np.float32)

class OnlyInTest(DataSet):
    def load(self):
        return Data(x, [0, 1, 0, 1, 0, 1], x, [0, 1, 2, 0, 1, 0], name="odd")

class Rare(DataSet):
    def load(self):
        return Data(x, [0, 1, 2, 3, 4, 5], x, [0, 1, 2, 3, 4, 5], name="rare")

class ByTask(L2):
    requires = frozenset({"task_id"})
"""


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        (
            ["learner.methods=[{type: 'odd.py:ByTask'}]"],
            2,
            "ByTask does not support learner classifier: it needs task_id, and this stream hides task ids; set "
            "stream.visibility.task_ids: visible",
        ),
        (
            ["learner.methods=[{type: ewc}]", "stream.visibility.boundaries=hidden"],
            2,
            "learner.methods[0]: ewc does not support learner classifier: it needs boundaries, and this stream hides "
            "where an experience ends; set stream.visibility.boundaries: announced",
        ),
        (
            ["boundary.optimizer=reset", "stream.visibility.boundaries=hidden"],
            2,
            "boundary.optimizer: reset is not possible: this stream hides where an experience ends",
        ),
        (
            ["stream.data={extends: null, type: 'odd.py:OnlyInTest'}"],
            1,
            "data 'odd', test set: classes [2] are not in the training set; remove them or add training data",
        ),
        (
            ["stream={extends: null, type: single, data: {type: 'odd.py:Rare'}}", "validation=0.3"],
            1,
            "stream: the test set of experience 0 (rare) has the classes [0, 4], which no training set of",
        ),
    ],
)
def test_what_does_not_go_together_is_told_by_the_check(
    changes: list[str],
    status: int,
    said: str,
    good: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.py").write_text(ODD)
    found, message = call(capsys, "check", good, *changes)
    assert said in message
    assert status == found
    assert message.count("\n") == 1


def test_nan_in_data_names_the_data_set_and_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], good: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holes.py").write_text(
        "import numpy as np\nfrom rlcl.data.sources import Data\nfrom rlcl.types import DataSet\n"
        "class Holes(DataSet):\n    def load(self):\n        x = np.ones((4, 2), np.float32); x[3, 1] = np.nan\n"
        "        return Data(x, [0, 1, 0, 1], x[:2], [0, 1], name='holes')\n"
    )
    status, message = call(capsys, "check", good, "stream.data={extends: null, type: 'holes.py:Holes'}")
    assert status == 1
    assert "data 'holes', train set: 1 of 4 inputs hold NaN or infinite values, the first at row 3" in message


def test_a_diverged_run_leaves_its_folder_whole(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "run", good, "learner.optimizer.lr=1e30", "--root", tmp_path / "runs", "-q")
    (folder,) = (tmp_path / "runs").glob("good/*/seed0")
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "failed"
    assert "experience 0" in status["error"]
    rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert {-1} == {row["trained_on"] for row in rows}
    assert (folder / "config.yaml").is_file()


def run_in_a_process(config: Path, root: Path, file_size: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    command = [sys.executable, "-m", "rlcl", "run", str(config), "--root", str(root), "-q"]
    return subprocess.run(command, check=False, capture_output=True, text=True, preexec_fn=limit)


def test_a_full_disk_is_a_clear_error_and_what_was_written_stays(good: Path, tmp_path: Path) -> None:
    done = run_in_a_process(good, tmp_path / "runs", file_size=20_000)
    assert done.returncode == 1
    assert "cannot write to" in done.stderr
    assert "free space" in done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = (tmp_path / "runs").glob("good/*/seed0")
    for line in (folder / "records.jsonl").read_text().splitlines():
        json.loads(line)
    again = run_in_a_process(good, tmp_path / "runs")
    assert again.returncode == 0, again.stderr


def test_a_folder_that_cannot_be_written_is_a_clear_error(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder of runs should be")
    status, message = call(capsys, "run", good, "--root", blocked, "-q")
    assert status == 1
    assert f"cannot write to {blocked}" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_a_clear_error(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "runs"
    root.mkdir(mode=0o500)
    status, message = call(capsys, "run", good, "--root", root, "-q")
    assert status == 1
    assert "cannot write to" in message
