"""Bundles in MLflow's model registry: loaded there, they answer as rlcl predict does."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlcl.deploy import load
from rlcl.errors import Problem

CLI = [sys.executable, "-m", "rlcl"]
TABLE = """
name: plants
stream: {type: data_incremental, data: {type: table, path: plants.csv, target: kind}, experiences: 2}
encoder: {type: columns, numeric: [{type: impute}, {type: standardize}], categorical: {type: one_hot}}
learner: {type: classifier, network: {type: mlp, hidden: [8]}, batch_size: 8}
budget: {updates: 20}
sinks: [mlflow]
"""
TASKS = """
name: tasks
stream: {type: task_incremental, data: digits, experiences: 2, visibility: {task_ids: visible}}
encoder: scale
learner: {type: classifier, network: {type: multihead, body: {type: mlp, hidden: [8]}, features: 8}, batch_size: 32}
budget: {updates: 10}
sinks: []
"""


def rlcl(folder: Path, *arguments: str) -> str:
    done = subprocess.run([*CLI, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def write_plants(folder: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [["height", "colour", "kind"]]
    for index in range(120):
        kind = ("herb", "tree")[index % 2]
        height = "" if index % 9 == 0 else str(round(float(rng.normal(10 * (index % 2), 1)), 2))
        rows.append([height, "" if index % 7 == 0 else ("green", "red")[int(rng.integers(2))], kind])
    with (folder / "plants.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_a_table_model_in_the_registry_answers_as_predict_does(tracker_folder: Path) -> None:
    mlflow: Any = pytest.importorskip("mlflow")
    pandas: Any = pytest.importorskip("pandas")
    write_plants(tracker_folder)
    (tracker_folder / "plants.yaml").write_text(TABLE)
    rlcl(tracker_folder, "run", "plants.yaml")
    assert "mlflow   models:/plants/1" in rlcl(tracker_folder, "export", "plants", "--mlflow", "plants")
    rlcl(tracker_folder, "predict", "bundles/plants", "plants.csv", "-o", "answers.csv")
    answers = pandas.read_csv("answers.csv")
    model = mlflow.pyfunc.load_model("models:/plants/1")
    found = model.predict(pandas.read_csv("plants.csv")[["height", "colour"]])
    assert list(answers.columns) == list(found.columns)
    assert answers["class"].tolist() == found["class"].tolist()
    np.testing.assert_allclose(answers.iloc[:, 1:], found.iloc[:, 1:], rtol=1e-6)
    version = mlflow.MlflowClient().get_model_version("plants", "1")
    (run,) = mlflow.MlflowClient().search_runs([mlflow.get_experiment_by_name("plants").experiment_id])
    assert run.info.run_id == version.run_id  # of the run that the sink has sent
    assert "mlflow   models:/plants/2" in rlcl(
        tracker_folder, "export", "plants", "--to", "second", "--mlflow", "plants"
    )


def test_a_model_with_task_ids_needs_one(tracker_folder: Path) -> None:
    mlflow: Any = pytest.importorskip("mlflow")
    (tracker_folder / "tasks.yaml").write_text(TASKS)
    rlcl(tracker_folder, "run", "tasks.yaml")
    rlcl(tracker_folder, "export", "tasks", "--mlflow", "tasks")
    x = np.random.default_rng(0).uniform(0, 16, (5, 1, 8, 8)).astype(np.float32)
    model = mlflow.pyfunc.load_model("models:/tasks/1")
    found = model.predict(x, params={"task_id": 1})
    bundle = load("bundles/tasks")
    classes = [bundle.signature.classes[k] for k in bundle.predict(x, task_id=1)]
    assert classes == found["class"].tolist()
    with pytest.raises(Problem, match="task_id"):
        model.predict(x)
