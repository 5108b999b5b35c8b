"""Two processes that divide each minibatch have the weights of one process with the whole minibatch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from data_parallel_cases import OWN, trained
from safetensors import safe_open

from rlcl.registry import entries

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SUPPORTED = {"ewc", "l2", "l2_init", "mas", "rwalk", "shrink_and_perturb", "si"}


def test_two_processes_have_the_weights_of_one_or_refuse(tmp_path: Path) -> None:
    file, script = tmp_path / "weights.safetensors", Path(__file__).parents[1] / "data_parallel_cases.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*TORCHRUN, script, file], env=environment, check=True, capture_output=True, timeout=300)
    with safe_open(file, "pt") as stored:
        actual = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        refused = dict(stored.metadata())
    cases = {key.partition(":")[0] for key in actual}
    assert {f"{host} {name}" for host in OWN for name in SUPPORTED} <= cases
    assert {f"{host} {name}" for host in OWN for name in set(entries("method")) - SUPPORTED} == refused.keys()
    assert refused["classifier_sgd gem"] == "method gem has a memory of examples"
    assert "rehearsal does not support learner classifier" in refused["classifier_sgd rehearsal"]
    assert "2 processes divide its minibatches" in refused["classifier_sgd rehearsal"]
    expected, _ = trained(cases)
    assert expected.keys() == actual.keys()
    for key, tensor in actual.items():
        assert torch.allclose(tensor, expected[key], rtol=0, atol=1e-6), key
