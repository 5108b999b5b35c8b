"""What is said of inputs that are far from 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlcl.experiment import experiment_from
from rlcl.launch.build import make_trainer
from rlcl.launch.input_scale import input_scale_remark


def told(stream: Any, encoder: Any, learner: Any, budget: Any) -> str:
    config = {"name": "sizes", "stream": stream, "encoder": encoder, "learner": learner, "budget": budget}
    experiment = experiment_from(config)
    trainer = make_trainer(experiment, 0)
    for _ in trainer._evaluate(-1):
        pass
    for number, _ in enumerate(trainer.learner.learn(trainer._experiences[0])):
        if number > 2:
            break
    return input_scale_remark(experiment, trainer)


CLASSIFIER = {
    "type": "classifier",
    "network": {"type": "mlp", "hidden": [8]},
    "optimizer": {"type": "adam", "lr": 1e-3},
}
SCALED = [{"type": "scale"}, {"type": "flatten"}]


@pytest.mark.parametrize(
    ("encoder", "line"),
    [
        ({"type": "identity"}, "set encoder: {type: scale}"),
        ({"type": "flatten"}, "set encoder: [{type: scale}, {type: flatten}]"),
        ({"type": "scale"}, ""),
        (SCALED, ""),
        ({"type": "standardize"}, ""),
    ],
)
def test_bytes_that_reach_a_network_are_told_with_the_line_to_add(tmp_path: Path, encoder: Any, line: str) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "bytes.npz", x=rng.integers(256, size=(60, 1, 4, 4), dtype=np.uint8), y=np.arange(60) % 3)
    stream = {
        "type": "class_incremental",
        "data": {"type": "npz", "path": str(tmp_path / "bytes.npz")},
        "experiences": 1,
    }
    found = told(stream, encoder, CLASSIFIER, {"epochs": 2})
    assert bool(line) == bool(found)
    assert line in found


def test_observations_of_an_environment_are_looked_at_as_well() -> None:
    stream = {"type": "environments", "env": "CartPole-v1", "num_envs": 2}
    ppo = {"type": "ppo", "n_steps": 8}
    assert "" == told(stream, {"type": "identity"}, ppo, {"env_steps": 64})
