"""A bundle by hand whose class is the larger of its inputs, and its traffic."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from rlcl.deploy.bundle import Bundle, seal
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.log import Answer, Feedback, RequestLog, pack_row
from rlcl.deploy.signature import Field, Signature

Array = np.ndarray[Any, Any]

SIGNATURE = Signature(
    kind="classifier",
    inputs=(Field(name="input", shape=(3,), dtype="float32"),),
    outputs=(
        Field(name="class", shape=(), dtype="int64"),
        Field(name="probabilities", shape=(3,), dtype="float32"),
    ),
    classes=("a", "b", "c"),
)


def graph(encoded: bool) -> bytes:
    """Probabilities, class and, unasked, the encoded input: twice the input."""

    def value(name: str, kind: int, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, kind, ["B", *shape])

    nodes = [
        helper.make_node("ArgMax", ["input"], ["class"], axis=1, keepdims=0),
        helper.make_node("Softmax", ["input"], ["probabilities"], axis=1),
        helper.make_node("Add", ["input", "input"], ["encoded"]),
    ]
    outputs = [value("class", TensorProto.INT64), value("probabilities", TensorProto.FLOAT, 3)]
    outputs += [value("encoded", TensorProto.FLOAT, 3)] if encoded else []
    made = helper.make_graph(nodes, "largest", [value("input", TensorProto.FLOAT, 3)], outputs)
    whole = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(whole)
    return whole.SerializeToString()


def draw(rng: np.random.Generator, rows: int) -> Array:
    """A Gaussian feature, a coin, and a constant."""
    return np.stack([rng.normal(size=rows), rng.integers(2, size=rows), np.zeros(rows)], 1).astype(np.float32)


def answers(x: Array) -> dict[str, Array]:
    odds = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    return {"class": x.argmax(1), "probabilities": odds.astype(np.float32)}


def make_bundle(folder: Path, *, encoded: bool = True, rows: int = 600, wrong: float = 0.05) -> Bundle:
    """A sealed bundle whose held-out accuracy is 1 - wrong."""
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"format": 2}')
    (folder / "signature.json").write_text(json.dumps(SIGNATURE.to_json()))
    (folder / "model.onnx").write_bytes(graph(encoded))
    x = draw(np.random.default_rng(7), rows)
    said = answers(x)
    labels = said["class"].copy()
    labels[: int(wrong * rows)] = (labels[: int(wrong * rows)] + 1) % 3
    stored = {"input": x, "labels": labels, **{f"output.{name}": array for name, array in said.items()}}
    save_file(stored, folder / "reference.safetensors")
    seal(folder)
    return Bundle.open(folder)


def ask(deployment: Deployment, bundle: Bundle, x: Array, first: int = 1) -> None:
    """Logs requests with the ids ``r1, r2, ...`` at as many seconds."""
    arrays = {"input": x, **answers(x)}
    rows = [
        Answer(
            id=f"r{first + row}",
            time=float(first + row),
            bundle=bundle.digest,
            task_id=None,
            input=pack_row(SIGNATURE.inputs, arrays, row),
            output=pack_row(SIGNATURE.outputs, arrays, row),
        )
        for row in range(len(x))
    ]
    log = RequestLog.open(deployment.log, write=True)
    log.register(bundle.digest, SIGNATURE)
    log.write(rows, [])
    log.close()


def tell(deployment: Deployment, values: Sequence[tuple[str, Any]]) -> None:
    """Logs feedback, (id, label) each."""
    log = RequestLog.open(deployment.log, write=True)
    assert all(log.write([], [Feedback(id=id, time=9.0, value=value) for id, value in values]))
    log.close()


def right(x: Array, wrong: Array | None = None, first: int = 1) -> list[tuple[str, str]]:
    """Labels of requests, which the model got right but where told otherwise."""
    classes = x.argmax(1) if wrong is None else (x.argmax(1) + wrong) % 3
    return [(f"r{first + row}", SIGNATURE.classes[k]) for row, k in enumerate(classes)]
