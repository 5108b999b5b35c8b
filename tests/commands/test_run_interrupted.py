"""A run that is killed or stopped and resumed ends with the same bits as one that ran through."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFIG = """
name: interrupted
seeds: [3]
stream: {type: class_incremental, data: {type: digits}, experiences: 3}
encoder: {type: standardize, fit_on: running}
learner:
  type: classifier
  network: {type: mlp, hidden: [32], dropout: 0.3}
  optimizer: {type: adam, lr: 1e-3}
  batch_size: 8
  methods:
    - {type: rehearsal, capacity: 100, batch_size: 8}
    - {type: ewc, strength: 10, fisher: sampled, samples: 50}
    - {type: distill, capacity: 50, samples: 40}
    - {type: l2_init}
budget: {epochs: 3}
evaluation: {every: {updates: 50}}
event_interval: 20
checkpoint_minutes: 0.0001
"""

ACTING = """
name: acting
seeds: [3]
stream:
  type: environments
  env: rlcl_envs/CartPole-v1
  tasks: [{}, {attributes: {gravity: 40}}]
  num_envs: 4
  vectorization: native
encoder: {type: running_norm}
learner:
  type: ppo
  network: {type: mlp, hidden: [16], activation: tanh}
  n_steps: 16
  epochs: 8
  schedule: {type: linear}
  methods: [{type: ewc, strength: 10, samples: 50}, {type: redo, every: 50}]
budget: {env_steps: 1500}
evaluation: {every: {env_steps: 500}, episodes: 2}
event_interval: 64
checkpoint_minutes: 0.0001
"""


def start(config: Path, root: Path, start_new_session: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rlcl", "run", str(config), "--root", str(root)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=start_new_session
    )


def wait_for_lines(root: Path, lines: int, process: subprocess.Popen[str]) -> None:
    """Until the events hold that many lines, or the process has ended."""
    while process.poll() is None:
        found = list(root.glob("*/*/seed3/events.jsonl"))
        if found and found[0].read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.005)


def outcome(root: Path) -> tuple[str, str]:
    """The records, and the checksum of all tensors of the last checkpoint: weights, memories, generators."""
    (folder,) = root.glob("*/*/seed3")
    last = max((folder / "checkpoints").iterdir())
    tensors = hashlib.sha256((last / "tensors.safetensors").read_bytes()).hexdigest()
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    return (folder / "records.jsonl").read_text(), tensors


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "interrupted.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def uninterrupted(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("through")
    process = start(config, root)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    return outcome(root)


def test_killed_at_any_moment_and_resumed_gives_the_same_bits(
    config: Path, uninterrupted: tuple[str, str], tmp_path: Path
) -> None:
    killed_and_resumed(config, uninterrupted, tmp_path)


def test_a_run_in_environments_too_is_resumed_in_the_middle_of_episodes(tmp_path: Path) -> None:
    config = tmp_path / "acting.yaml"
    config.write_text(ACTING)
    process = start(config, tmp_path / "through")
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    killed_and_resumed(config, outcome(tmp_path / "through"), tmp_path / "killed")


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_group_reaches_environments_in_processes_too_and_leaves_none(
    tmp_path: Path, signum: int, status: int
) -> None:
    config = tmp_path / "processes.yaml"
    config.write_text(
        ACTING.replace("rlcl_envs/CartPole-v1", "CartPole-v1").replace("vectorization: native", "vectorization: async")
    )
    process = start(config, tmp_path / "through")
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    process = start(config, tmp_path, start_new_session=True)
    wait_for_lines(tmp_path, 5, process)
    os.killpg(process.pid, signum)  # SIGINT as a terminal sends it, SIGTERM as Slurm does
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == status, printed
    assert "Traceback" not in printed
    assert "run the same command to resume from" in printed
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    process = start(config, tmp_path)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    assert "are restarted" not in printed
    assert outcome(tmp_path / "through") == outcome(tmp_path)


def killed_and_resumed(config: Path, uninterrupted: tuple[str, str], tmp_path: Path) -> None:
    for lines in (1, 12, 27):
        process = start(config, tmp_path)
        wait_for_lines(tmp_path, lines, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    process = start(config, tmp_path)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    assert "resuming " in printed
    assert uninterrupted == outcome(tmp_path)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_a_checkpoint_and_ends_with_its_status(
    config: Path, uninterrupted: tuple[str, str], tmp_path: Path, signum: int, status: int
) -> None:
    process = start(config, tmp_path)
    wait_for_lines(tmp_path, 5, process)
    os.kill(process.pid, signum)
    printed, _ = process.communicate(timeout=60)
    assert status == process.returncode, printed
    assert "run the same command to resume from this step" in printed
    assert "Traceback" not in printed
    (folder,) = tmp_path.glob("*/*/seed3")
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    process = start(config, tmp_path)
    printed, _ = process.communicate(timeout=120)
    assert uninterrupted == outcome(tmp_path)


def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_it_used(
    config: Path, uninterrupted: tuple[str, str], tmp_path: Path
) -> None:
    process = start(config, tmp_path)
    wait_for_lines(tmp_path, 10, process)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    (folder,) = tmp_path.glob("*/*/seed3")
    newest = max((folder / "checkpoints").iterdir()) / "tensors.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    newest.write_bytes(content)
    process = start(config, tmp_path)
    printed, _ = process.communicate(timeout=120)
    assert "is damaged" in printed.replace("\n", " ")
    assert "the previous checkpoint is used" in printed.replace("\n", " ")
    assert uninterrupted == outcome(tmp_path)


def test_a_second_process_on_one_run_is_refused(config: Path, tmp_path: Path) -> None:
    first = start(config, tmp_path)
    wait_for_lines(tmp_path, 1, first)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = start(config, tmp_path)
        printed, _ = second.communicate(timeout=60)
        assert second.returncode == os.EX_TEMPFAIL
        assert f"another process ({first.pid}) works on" in printed
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
