"""``rlcl run --continue-from``: what is continued, killed, resumed and refused on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlcl.commands import main

CONFIG = """
name: life
seeds: [3]
stream: {type: permuted, data: {type: digits}, experiences: 2}
learner:
  type: classifier
  network: {type: mlp, hidden: [32], dropout: 0.3}
  optimizer: {type: adam, lr: 1e-3}
  batch_size: 8
  methods: [{type: rehearsal, capacity: 100, batch_size: 8}]
budget: {epochs: 1}
event_interval: 20
checkpoint_minutes: 0.0001
"""


def rlcl(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def left(root: Path, digits: str) -> tuple[str, bytes]:
    """Records and the tensors of the last checkpoint."""
    folder = root / "life" / digits / "seed3"
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    last = max((folder / "checkpoints").iterdir())
    return (folder / "records.jsonl").read_text(), (last / "tensors.safetensors").read_bytes()


def the_other(root: Path, parent: str) -> str:
    (found,) = {path.name for path in (root / "life").iterdir() if path.is_dir()} - {parent}
    return found


@pytest.mark.parametrize("change", ["budget.epochs=4", "stream.experiences=4"])
def test_killed_and_resumed_it_ends_with_the_same_bits(tmp_path: Path, change: str) -> None:
    config = tmp_path / "life.yaml"
    config.write_text(CONFIG)
    roots = tmp_path / "through", tmp_path / "killed"
    for root in roots:
        assert rlcl("run", str(config), "--root", str(root), "--quiet") == 0
    (parent,) = (path.name for path in (roots[0] / "life").iterdir())
    assert rlcl("run", str(config), change, "--continue-from", "life", "--root", str(roots[0]), "--quiet") == 0
    digits = the_other(roots[0], parent)
    command = [sys.executable, "-m", "rlcl", "run", str(config), change, "--continue-from", "life"]
    process = subprocess.Popen([*command, "--root", str(roots[1])], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    events, before = roots[1] / "life" / digits / "seed3" / "events.jsonl", 21
    while process.poll() is None and not (events.is_file() and events.read_bytes().count(b"\n") > before):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    resumed = str(roots[1] / "life" / digits / "seed3" / "config.yaml")  # its parent is not asked for any more
    assert rlcl("run", resumed, "--root", str(roots[1]), "--quiet") == 0
    assert left(roots[0], digits) == left(roots[1], digits)
    assert {row["run"] for row in map(json.loads, left(roots[1], digits)[0].splitlines())} == {digits}


def test_several_files_and_unknown_runs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "life.yaml"
    config.write_text(CONFIG)
    assert rlcl("run", str(config), "quickstart", "--continue-from", "life", "--root", str(tmp_path)) == 2
    assert "expected one experiment file, got 2" in capsys.readouterr().err
    assert rlcl("run", str(config), "--continue-from", "nothing", "--root", str(tmp_path / "runs")) == 1
    assert "no run nothing in" in capsys.readouterr().err
