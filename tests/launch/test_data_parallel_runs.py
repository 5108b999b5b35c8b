"""``torchrun -m rlcl run``: one run of two processes, which is stopped and resumed as a whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlcl.errors import RlclError
from rlcl.experiment import load_experiment
from rlcl.launch.build import make_trainer
from rlcl.process_group import ProcessGroup, membership

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "rlcl", "run")
FILE = (
    "name: both\nstream: {type: class_incremental, experiences: 2}\nseeds: [0, 1]\n"
    "learner:\n  type: classifier\n  network: {type: mlp, hidden: [16], dropout: 0.2}\n  batch_size: 16\n"
    "  augment: [{type: noise}]\n  drop_last: true\n  methods: [{type: ewc, strength: 1}]\n"
    "budget: {updates: 60}\ncheckpoint_minutes: 0.001\n"
)
CARTPOLE = "stream={extends: null, type: environments, env: CartPole-v1}"
NETWORK = """
from torch import nn


class Net:
    def build(self, shape, outputs, tasks=1):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, outputs))
"""
DRIFTING = """
import os

import attrs

from rlcl.methods.l2 import L2


@attrs.define(eq=False)
class Drifting(L2):
    def end(self, experience):
        super().end(experience)
        for parameter in self._host.modules["network"].parameters():
            parameter.data += float(os.environ["RANK"])
"""


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    (folder / "both.yaml").write_text(FILE)
    command = [*TORCHRUN, "both.yaml", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def output(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=240)[0]


def contents(root: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text() for path in root.rglob("records.jsonl")}


def test_a_stopped_run_of_two_processes_resumes_as_if_it_was_not(tmp_path: Path) -> None:
    whole = started(tmp_path, "--root", "whole")
    assert "accuracy.average" in output(whole)
    assert whole.returncode == 0
    (manifest,) = tmp_path.glob("whole/*/*/seed0/manifest.json")
    assert json.loads(manifest.read_text())["hardware"]["processes"] == 2
    part = started(tmp_path, "--root", "part")
    deadline = time.monotonic() + 120
    while not any(tmp_path.glob("part/*/*/seed0/checkpoints/0000000[2-9]")):
        assert part.poll() is None, output(part)
        assert time.monotonic() < deadline
        time.sleep(0.02)
    part.send_signal(signal.SIGTERM)  # torchrun sends it to its processes
    assert "stopped by SIGTERM" in output(part)
    assert contents(tmp_path / "part") != contents(tmp_path / "whole")
    assert "resuming" in output(started(tmp_path, "--root", "part"))
    assert {"seed0", "seed1"} == contents(tmp_path / "whole").keys()
    assert contents(tmp_path / "part") == contents(tmp_path / "whole")


def test_processes_with_other_weights_are_found_at_the_boundary(tmp_path: Path) -> None:
    (tmp_path / "drifting.py").write_text(DRIFTING)
    process = started(tmp_path, "learner.methods=[{type: drifting.py:Drifting}]")
    message = output(process)
    assert process.returncode != 0
    assert "the processes of this run differ after step 60" in message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            ["learner={extends: null, type: ppo}", CARTPOLE, "budget={env_steps: 64}"],
            "learner ppo cannot be trained by 2 processes: it does not train on",
        ),
        (["learner={type: simsiam}"], "learner simsiam cannot be trained by 2 processes: its loss is not a mean"),
        (
            ["learner.network={extends: null, type: 'net.py:Net'}"],
            "normalizes over the minibatch, which 2 processes",
        ),
        (["evaluation.online=true"], "needs the predictions of the whole minibatch"),
        (["learner.labelled=0.5"], "its loss is a mean over the examples that have a label"),
        (["learner.methods=[{type: gem}]"], "method gem has a memory of examples"),
        (
            ["learner.methods=[{type: rehearsal, capacity: 20}]"],
            "it needs batch, and 2 processes divide its minibatches",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused(
    changes: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "both.yaml").write_text(FILE)
    (tmp_path / "net.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    experiment = load_experiment("both.yaml", changes)
    make_trainer(experiment, 0)
    with membership(ProcessGroup(0, 2)), pytest.raises(RlclError) as raised:
        make_trainer(experiment, 0)
    assert reason in str(raised.value)


def test_a_refusal_ends_all_processes(tmp_path: Path) -> None:
    process = started(tmp_path, "learner.methods=[{type: rehearsal, capacity: 20}]")
    message = output(process)
    assert message.count("rlcl: learner.methods[0]: rehearsal does not support learner classifier") == 1
    assert process.returncode != 0
