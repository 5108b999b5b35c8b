"""Hand-made bundles, and servers of them in separate processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import onnx
from attrs import frozen
from onnx import TensorProto, helper, numpy_helper

from rlcl.deploy.bundle import seal
from rlcl.deploy.signature import Field, Signature

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
STARTED = re.compile(r"serving .* on (http://\S+)\n")


def graph(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], **weights: Any) -> onnx.ModelProto:
    """Return an ONNX model of nodes; inputs and outputs are (name, type, shape without the batch)."""
    values = [[helper.make_tensor_value_info(n, t, ["B", *s]) for n, t, s in side] for side in (inputs, outputs)]
    onnx_graph = helper.make_graph(nodes, "model", *values, [numpy_helper.from_array(v, k) for k, v in weights.items()])
    return helper.make_model(onnx_graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def write(folder: Path, signature: Signature, model: onnx.ModelProto) -> Path:
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    (folder / "signature.json").write_text(json.dumps(signature.to_json()))
    (folder / "manifest.json").write_text('{"format": 2}')
    seal(folder)
    return folder


def classifier(folder: Path, classes: Sequence[str] = ("zero", "one"), weight: float = 1.0, work: int = 0) -> Path:
    """Write a classifier of three inputs from -10 to 10, whose logits are ``weight`` times the first inputs.

    With weight 1, the class is the index of the largest input; with weight -1, that of the smallest. ``work`` adds
    products with this many identity matrices of size 512, which change nothing but the run time.
    """
    k = len(classes)
    nodes = [
        helper.make_node("MatMul", ["input", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["class"], axis=1, keepdims=0),
    ]
    weights = {"w": np.eye(3, k, dtype=np.float32) * np.float32(weight)}
    if work:
        weights |= {"wide": np.eye(3, 512, dtype=np.float32), "same": np.eye(512, dtype=np.float32)}
        weights["w"] = np.eye(512, k, dtype=np.float32) * np.float32(weight)
        steps = [("input", "wide"), *[(f"h{i}", "same") for i in range(work)]]
        products = [helper.make_node("MatMul", [*step], [f"h{i}"]) for i, step in enumerate(steps)]
        nodes = [*products, helper.make_node("MatMul", [f"h{work}", "w"], ["logits"]), *nodes[1:]]
    outputs = [("class", INT, []), ("probabilities", FLOAT, [k])]
    signature = Signature(
        kind="classifier",
        inputs=(Field(name="input", shape=(3,), dtype="float32", low=-10.0, high=10.0),),
        outputs=(
            Field(name="class", shape=(), dtype="int64"),
            Field(name="probabilities", shape=(k,), dtype="float32"),
        ),
        classes=tuple(classes),
    )
    return write(folder, signature, graph(nodes, [("input", FLOAT, [3])], outputs, **weights))


def counter(folder: Path) -> Path:
    """Write a recurrent policy: its state is the sum of observations, its action whether that sum is positive."""
    nodes = [
        helper.make_node("ReduceSum", ["input", "axis"], ["row"], keepdims=0),
        helper.make_node("Add", ["row", "sum"], ["sum.next"]),
        helper.make_node("Greater", ["sum.next", "zero"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["action"], to=INT),
    ]
    model = graph(
        nodes,
        [("input", FLOAT, [2]), ("sum", FLOAT, [])],
        [("action", INT, []), ("sum.next", FLOAT, [])],
        axis=np.array([1]),
        zero=np.array(0.0, np.float32),
    )
    signature = Signature(
        kind="policy",
        inputs=(
            Field(name="input", shape=(2,), dtype="float32", low=np.array([-1.0, -2.0]), high=np.array([1.0, 2.0])),
        ),
        outputs=(Field(name="action", shape=(), dtype="int64"),),
        state=(Field(name="sum", shape=(), dtype="float32"),),
    )
    return write(folder, signature, model)


def scaler(folder: Path) -> Path:
    """Write a regressor of two named inputs and three tasks: value = left + right + task."""
    nodes = [
        helper.make_node("Add", ["left", "right"], ["both"]),
        helper.make_node("Cast", ["task_id"], ["task"], to=FLOAT),
        helper.make_node("Unsqueeze", ["task", "one"], ["column"]),
        helper.make_node("Add", ["both", "column"], ["value"]),
    ]
    model = graph(
        nodes,
        [("left", FLOAT, [2]), ("right", FLOAT, [2]), ("task_id", INT, [])],
        [("value", FLOAT, [2])],
        one=np.array([1]),
    )
    sides = tuple(Field(name=name, shape=(2,), dtype="float32") for name in ("left", "right"))
    value = Field(name="value", shape=(2,), dtype="float32")
    return write(folder, Signature(kind="regressor", inputs=sides, outputs=(value,), tasks=3), model)


@frozen
class RunningServer:
    """A running server."""

    url: str
    process: subprocess.Popen[str]
    bundle: Path

    def end(self) -> int:
        """Stop the server, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def serving(bundle: Path, *options: str, token: str | None = None, **started: Any) -> Iterator[RunningServer]:
    """Run a server on a free loopback port; it is killed if it has not stopped."""
    command = [sys.executable, "-m", "rlcl", "serve", str(bundle), "--port", "0", *options]
    variables = {k: v for k, v in os.environ.items() if k != "RLCL_TOKEN"}
    variables.update({} if token is None else {"RLCL_TOKEN": token})
    with (bundle.parent / f"{bundle.name}.err").open("a") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=variables, **started)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = STARTED.fullmatch(line)
        assert match is not None, (line, standard_error(bundle))
        yield RunningServer(match[1], process, bundle)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def standard_error(bundle: Path) -> str:
    """Return the standard error of all servers of a bundle."""
    return (bundle.parent / f"{bundle.name}.err").read_text()


def post(url: str, body: bytes, **headers: str) -> tuple[int, Any]:
    """Send a request without a client, and return the status and the decoded answer."""
    parts = urlsplit(url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    all_headers = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    try:
        connection.request("POST", parts.path, body, all_headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def get(url: str, **headers: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    try:
        connection.request("GET", parts.path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def metric_value(url: str, name: str) -> float:
    """Return the sum of the metrics whose lines begin with a name."""
    lines = get(f"{url}/metrics")[1].decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))
