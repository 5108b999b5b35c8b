"""A bundle of the size of a digits classifier, and servers of it.

The weights are random. A prediction takes the same time as with trained weights.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save
from sklearn.datasets import load_digits

from rlcl.deploy import load
from rlcl.deploy.bundle import seal
from rlcl.deploy.signature import Field, Signature

SIZES = (64, 256, 256, 10)


def weights() -> list[np.ndarray]:
    """Return random weights (inputs, outputs) of each layer."""
    rng = np.random.default_rng(0)
    return [rng.normal(0, n**-0.5, (n, m)).astype(np.float32) for n, m in pairwise(SIZES)]


def write_bundle(folder: Path) -> Path:
    """Write the bundle of an MLP 256-256 for 64 pixels between 0 and 16."""
    nodes, last = [], "input"
    for i in range(3):
        made = "logits" if i == 2 else f"h{i}"
        nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [made]))
        if i < 2:
            nodes.append(helper.make_node("Relu", [made], [f"r{i}"]))
        last = f"r{i}"
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    nodes.append(helper.make_node("ArgMax", ["logits"], ["class"], axis=1, keepdims=0))
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["B", 64])]
    outputs = [
        helper.make_tensor_value_info("class", TensorProto.INT64, ["B"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["B", 10]),
    ]
    stored = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights())]
    graph = helper.make_graph(nodes, "digits", inputs, outputs, stored)
    signature = Signature(
        kind="classifier",
        inputs=(Field(name="input", shape=(64,), dtype="float32", low=0.0, high=16.0),),
        outputs=(
            Field(name="class", shape=(), dtype="int64"),
            Field(name="probabilities", shape=(10,), dtype="float32"),
        ),
        classes=tuple(map(str, range(10))),
    )
    folder.mkdir(parents=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx"
    )
    (folder / "signature.json").write_text(json.dumps(signature.to_json()))
    (folder / "manifest.json").write_text('{"format": 2}')
    seal(folder)
    _add_reference(folder)
    return folder


def _add_reference(folder: Path) -> None:
    """Add the reference of the monitor: images, and the model's own outputs, which are used as labels."""
    images = load_digits().images.reshape(-1, SIZES[0]).astype(np.float32)
    found = load(folder).outputs(images)
    arrays = {"input": images, "labels": found["class"], **{f"output.{k}": v for k, v in found.items()}}
    (folder / "reference.safetensors").write_bytes(save(arrays))
    seal(folder)


@contextmanager
def started(command: Sequence[str]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start a server, and yield the address that it prints and its process; kill it at the end."""
    variables = {k: v for k, v in os.environ.items() if k != "RLCL_TOKEN"}
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, env=variables)
    assert process.stdout is not None
    try:
        found = re.search(r"http://(\S+)", process.stdout.readline())
        assert found is not None, "the server did not start"
        yield found[1], process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def served(bundle: Path, *options: str) -> list[str]:
    """Return the command that serves a bundle on a free port."""
    return ["-m", "rlcl", "serve", str(bundle), "--port", "0", *options]
