"""Batched seeds whose process is killed: resumed, they leave the bits of a run that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from rlcl.experiment import Experiment, load_experiment
from rlcl.launch.seeds import run_experiment
from rlcl.training import checkpoint

CONFIG = """
name: batch
seeds: [0, 1, 2]
batched_seeds: true
stream: {type: environments, env: rlcl_envs/CartPole-v1, tasks: [{}, {attributes: {gravity: 40}}], num_envs: 4,
  vectorization: native}
learner: {type: ppo, network: {type: mlp, hidden: [16], activation: tanh}, n_steps: 16, batch_size: 32, epochs: 2}
budget: {env_steps: 512}
evaluation: {every: {env_steps: 128}, episodes: 1}
event_interval: 64
checkpoint_minutes: 1.0e-9
"""

# Kills its own process, as nothing in it can prevent, at the k-th time that a checkpoint is to be saved or is saved.
KILLED = """
import os, signal, sys
from pathlib import Path
from rich.console import Console
from rlcl.experiment import load_experiment
from rlcl.launch.seeds import run_experiment
from rlcl.training import checkpoint

left, save = int(sys.argv[2]), checkpoint.save

def saved(*arguments, **options):
    global left
    made = save(*arguments, **options)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return made

checkpoint.save = saved
folder = Path(sys.argv[1])
run_experiment(load_experiment(folder / "batch.yaml", ()), folder / "runs", Console(quiet=True))
"""


def experiment(folder: Path) -> Experiment:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "batch.yaml").write_text(CONFIG)
    return load_experiment(folder / "batch.yaml", ())


def killed(folder: Path, after: int) -> None:
    """Runs it in a process of its own until so many checkpoints are saved, over all seeds."""
    command = [sys.executable, "-c", KILLED, str(folder), str(after)]
    assert -signal.SIGKILL == subprocess.run(command, check=False, env={**os.environ}).returncode


def left(folder: Path) -> list[tuple[str, bytes]]:
    """Records, and the tensors of the last checkpoint of each seed."""
    found = []
    for run in sorted((folder / "runs").rglob("seed*")):
        tensors = max((run / "checkpoints").iterdir()) / "tensors.safetensors"
        found += [((run / "records.jsonl").read_text(), tensors.read_bytes())]
    return found


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    folder = tmp_path_factory.mktemp("through")
    run_experiment(experiment(folder), folder / "runs", Console(quiet=True))
    return left(folder)


@pytest.mark.parametrize("moments", [[8], [11], [10, 7]])
def test_killed_at_any_moment_and_resumed_it_leaves_the_same_bits(
    moments: list[int], tmp_path: Path, through: list[tuple[str, bytes]]
) -> None:
    made = experiment(tmp_path)
    for after in moments:
        killed(tmp_path, after)
    steps = {
        state["trainer"]["learner"]["position"]["step"]
        for folder in (tmp_path / "runs").rglob("checkpoints")
        for _, state in list(checkpoint.intact_checkpoints(folder))[:1]
    }
    assert len(steps) > 1  # seeds were saved at different steps
    run_experiment(made, tmp_path / "runs", Console(quiet=True))
    assert through == left(tmp_path)
