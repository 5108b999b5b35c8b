"""Bundles that rlcl export wrote, watched."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.exporting.export import export
from rlcl.deploy.log import Answer, Feedback, RequestLog, pack_row
from rlcl.deploy.model import Model
from rlcl.deploy.monitoring.log_monitor import LogMonitor
from rlcl.deploy.monitoring.monitor import MonitorSettings
from rlcl.deploy.monitoring.reference import ReferenceSample
from rlcl.experiment import experiment_from
from rlcl.launch.seeds import run_experiment
from rlcl.tracking.runs import find_runs

DIGITS = {
    "name": "digits",
    "stream": {"type": "class_incremental", "experiences": 2},
    "encoder": {"type": "standardize"},
    "learner": {"type": "classifier", "network": {"type": "mlp", "hidden": [16]}, "batch_size": 32},
    "budget": {"epochs": 1},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("digits")
    run_experiment(experiment_from(DIGITS), folder / "runs", console=Console(quiet=True))
    (run,) = find_runs(folder / "runs")
    export(run, folder / "bundle", update=False)
    return Bundle.open(folder / "bundle")


def test_an_exported_bundle_gives_what_its_encoder_makes_of_inputs(bundle: Bundle) -> None:
    reference, model = ReferenceSample.read(bundle), Model(bundle)
    encoded = model.encoded(reference.inputs)
    assert encoded is not None
    assert (len(reference.inputs["input"]), 64) == encoded.shape
    moving = encoded.std(0) > 0
    assert 0 == pytest.approx(np.median(encoded.mean(0)), abs=0.1)  # standardized, by the training data
    assert 1 == pytest.approx(np.median(encoded.std(0)[moving]), abs=0.1)
    assert ["class", "probabilities"] == list(model.outputs(reference.inputs["input"][:2]))
    assert 0 < reference.losses.mean() < 1


def test_its_own_held_out_sample_is_no_drift_and_dark_images_are(bundle: Bundle) -> None:
    deployment, reference, model = Deployment(bundle.path), ReferenceSample.read(bundle), Model(bundle)
    rows = np.random.default_rng(0).integers(len(reference.inputs["input"]), size=1500)
    x = reference.inputs["input"][rows]
    x[1000:] = np.minimum(x[1000:] * 2, 16)
    arrays = {"input": x, **model.outputs(x)}
    signature = bundle.signature
    assert reference.labels is not None
    labels = [signature.classes[int(label)] for label in reference.labels[rows]]
    log = RequestLog.open(deployment.log, write=True)
    log.register(bundle.digest, signature)
    log.write(
        [
            Answer(
                id=str(i), time=float(i), bundle=bundle.digest, task_id=None,
                input=pack_row(signature.inputs, arrays, i), output=pack_row(signature.outputs, arrays, i),
            )
            for i in range(len(x))
        ],
        [Feedback(id=str(i), time=9.0, value=label) for i, label in enumerate(labels)],
    )  # fmt: skip
    log.close()
    monitor = LogMonitor(deployment, MonitorSettings())
    lines = monitor.read_new()
    monitor.close()
    alarms = [line for line in lines if line["line"] == "alarm"]
    assert {"inputs", "encoded"} <= {line["kind"] for line in alarms}
    assert all(line["requests"][0] > 1000 for line in alarms)
