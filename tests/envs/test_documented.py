"""What the reference says of the environments is what they have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
from side_by_side import IDS, ours

from rlcl.experiment import load_experiment
from rlcl.launch.build import make_stream

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "environments.md").read_text()


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return str(text)


def test_parameters_are_those_of_the_table() -> None:
    rows = re.findall(r"^\| `rlcl_envs/(\S+)` \| (.*) \|$", TEXT, re.MULTILINE)
    documented = {name: re.findall(r"`(\w+)`", parameters) for name, parameters in rows}
    assert {name: list(ours(name).physics) for name in IDS} == documented


def test_the_python_runs() -> None:
    exec(compile(block("python"), "environments.md", "exec"), {})  # noqa: S102


def test_the_stream_is_one(tmp_path: Path) -> None:
    rest = "name: moon\nlearner: {type: sb3, algorithm: PPO}\nbudget: {env_steps: 128}\n"
    (tmp_path / "moon.yaml").write_text(rest + block("yaml"))
    stream = make_stream(load_experiment(tmp_path / "moon.yaml"), 0)
    source: Any = stream[1].train
    vector = source.make_vector(2)
    assert [1.62, 1.62] == vector.g.tolist()
    assert isinstance(vector, gym.vector.VectorEnv)
