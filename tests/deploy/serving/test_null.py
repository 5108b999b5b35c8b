"""Values that are missing, from a request over the log to the monitor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from safetensors.numpy import load_file
from server_harness import get, post, serving

import rlcl.deploy
from rlcl.commands import main
from rlcl.deploy.client import Client
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.log import Answer, RequestLog, pack_rows
from rlcl.deploy.model import Model
from rlcl.deploy.monitoring.log_monitor import read_lines
from rlcl.deploy.monitoring.reference import ReferenceSample

Made = Callable[[str], Path]


def test_null_is_what_is_missing(bundle: Made, tmp_path: Path) -> None:
    path = bundle("people")
    deployment, model = Deployment(path, tmp_path / "live"), rlcl.deploy.load(path)
    held_out = load_file(path / "reference.safetensors")["input"]
    usual = held_out[np.arange(100) % len(held_out)]
    gone = usual.copy()
    gone[:, 0] = np.nan  # all ages, and nothing else
    with serving(path, "--live", str(tmp_path / "live")) as server, Client(server.url) as client:
        status, answer = post(f"{server.url}/predict", b'{"inputs": [[null, 1, 500], [30, null, null]]}')
        expected = model.outputs([[None, 1, 500], [30, None, None]])
        assert (200, expected["class"].tolist()) == (status, answer["class"])
        np.testing.assert_allclose(expected["probabilities"], answer["probabilities"], rtol=1e-6)
        for name, x in (("usual", usual), ("gone", gone)):
            found = client.predict(x)["class"]
            assert model.predict(x).tolist() == found, name
        for body, place in ((b"[[30, 1, 1e39]]", [0, 2]), (b'[[30, "null", 1]]', [0, 1])):
            status, answer = post(f"{server.url}/predict", b'{"inputs": %s}' % body)
            assert (422, ["body", "inputs", *place]) == (status, answer["detail"][0]["loc"])
        described = json.loads(get(f"{server.url}/openapi.json")[1])
        schema = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.validate({"inputs": [[None, 1, 500]]}, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"inputs": [["x", 1, 500]]}, schema)
        assert 0 == server.end()
    with closing(RequestLog.open(deployment.log)) as log:
        logged = np.concatenate([page.inputs["input"] for page in log.pages()])
    np.testing.assert_array_equal(np.array([[np.nan, 1, 500], [30, np.nan, np.nan]], np.float32), logged[:2])
    np.testing.assert_array_equal(gone, logged[-100:])


def test_the_monitor_sees_that_more_is_missing_than_was(bundle: Made, tmp_path: Path) -> None:
    shutil.copytree(bundle("people"), tmp_path / "people")
    deployment, model = Deployment(tmp_path / "people"), rlcl.deploy.load(tmp_path / "people")
    reference = ReferenceSample.read(model.bundle)
    usual = reference.inputs["input"][np.random.default_rng(0).integers(len(reference.losses), size=400)]
    gone = usual.copy()
    gone[:, 0] = np.nan  # all ages, and nothing else
    write(deployment, model, np.concatenate([usual, gone]))
    with pytest.raises(SystemExit) as left:
        main(["monitor", str(tmp_path / "people"), "--window", "200", "--report", str(tmp_path / "page.html")])
    assert 3 == left.value.code
    windows = [line for line in read_lines(deployment) if line["line"] == "window"]
    assert [0, 0, 1, 1] == [line["inputs"]["count"] for line in windows]
    # Some ages were missing, and now all are.
    share = float(np.isnan(reference.inputs["input"][:, 0]).mean())
    assert ("age missing", pytest.approx(1 - share)) == (
        windows[-1]["inputs"]["what"], windows[-1]["inputs"]["statistic"]
    )  # fmt: skip
    (alarm,) = [line for line in read_lines(deployment) if line["line"] == "alarm" and line["kind"] == "inputs"]
    assert ["age missing"] == [each["what"] for each in alarm["features"]]
    assert f"missing {share:.0%}, now 100%" in (tmp_path / "page.html").read_text()


def write(deployment: Deployment, model: Model, x: np.ndarray) -> None:
    arrays, signature = {"input": x, **model.outputs(x)}, model.signature
    packed = zip(pack_rows(signature.inputs, arrays), pack_rows(signature.outputs, arrays), strict=True)
    digest = model.bundle.digest
    answers = [
        Answer(id=str(i), time=float(i), bundle=digest, task_id=None, input=given, output=got)
        for i, (given, got) in enumerate(packed)
    ]
    with closing(RequestLog.open(deployment.log, write=True)) as log:
        log.register(digest, signature)
        log.write(answers, [])
