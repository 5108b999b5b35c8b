"""Sink for MLflow tracking."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, field

from rlcl.config import option
from rlcl.sinks.labels import run_settings
from rlcl.sinks.trackers.tracker import UPLOADED_FILES, Matrix, Point, Tracker
from rlcl.types import RunStart

__all__ = ["Mlflow", "mlflow_name", "tracked_run"]

METRICS_PER_BATCH, PARAMETERS_PER_BATCH, VALUE_LENGTH, NAME_LENGTH = 1000, 100, 6000, 250  # limits of MLflow
# Seconds and repetitions of a request: MLflow's own 120 and 7 would stop the training for a quarter of an hour.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@define(kw_only=True, eq=False)
class Mlflow(Tracker):
    """Copy of the run in MLflow: parameters, metrics with steps, R as image and table, files.

    Args:
        uri: address of the tracking server, or of a store such as ``sqlite:///mlflow.db``; by default the environment
            variable MLFLOW_TRACKING_URI, else MLflow's own default.
        experiment: name of the experiment in MLflow; the name of the rlcl experiment by default.
        tags: tags of the run, in addition to ``rlcl.name``, ``rlcl.hash`` and ``rlcl.seed``.
    """

    package: ClassVar[str] = "mlflow"

    uri: str | None = option(None)
    experiment: str | None = option(None)
    tags: Mapping[str, str] = option(factory=dict)
    _client: Any = field(init=False)

    @property
    def destination(self) -> str:
        from mlflow import get_tracking_uri

        return self.uri or get_tracking_uri()

    def connect(self, run: RunStart, run_id: str) -> str:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        self._client = MlflowClient(self.uri)
        if run_id and self._continues(run_id):
            return run_id
        return self._start(run)

    def _continues(self, run_id: str) -> bool:
        """Continue a run; return False if the store does not contain it any more."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return True

    def _start(self, run: RunStart) -> str:
        from mlflow.entities import Param

        tags = {**self.tags, "rlcl.name": run.name, "rlcl.hash": run.hash, "rlcl.seed": str(run.seed)}
        started = self._client.create_run(
            self._experiment_id(self.experiment or run.name), run_name=f"{run.title} {run.hash[:4]}", tags=tags
        )
        settings = run_settings(run.config, run.seed).items()
        parameters = [Param(mlflow_name(key), str(value)[:VALUE_LENGTH]) for key, value in settings]
        for batch in _batches(parameters, PARAMETERS_PER_BATCH):
            self._client.log_batch(started.info.run_id, params=batch)
        return str(started.info.run_id)

    def _experiment_id(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        existing = self._client.get_experiment_by_name(name)
        if existing is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:  # another run may have created it in the meantime
                existing = self._client.get_experiment_by_name(name)
                if existing is None:
                    raise
        return str(existing.experiment_id)

    def send(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(mlflow_name(name), value, int(1000 * point.time), point.step)
            for point in points
            for name, value in point.values.items()
        ]
        for batch in _batches(metrics, METRICS_PER_BATCH):
            self._client.log_batch(self._id, metrics=batch)

    def send_results(self, run: RunStart, step: int, metrics: Mapping[str, float], matrices: Sequence[Matrix]) -> None:
        if metrics:
            finite = {f"metrics/{name}": value for name, value in metrics.items() if math.isfinite(value)}
            self.send([Point(step, time.time(), finite)])
        for matrix in matrices:
            name = re.sub(r"\W", "_", matrix.name)
            self._client.log_image(self._id, matrix.picture(), f"R/{name}.png")
            columns = zip(*matrix.table(), strict=True)
            table = dict(zip(("after", *matrix.columns), map(list, columns), strict=True))
            self._client.log_table(self._id, table, f"R/{name}.json")
        for file in UPLOADED_FILES:
            self._client.log_artifact(self._id, str(run.folder / file))

    def disconnect(self, *, finished: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")

    def look(self, folder: Path) -> str:
        uri = self.destination
        return uri if uri.startswith(("http:", "https:")) else f"mlflow ui --backend-store-uri {uri}"


def tracked_run(folder: Path, uri: str | None) -> str | None:
    """Return the id of a run in a store of MLflow; None if the sink has not sent it there.

    Args:
        folder: run folder.
        uri: address of the store; MLflow's own setting if None.
    """
    return Mlflow(uri=uri).sent_run(folder)


def mlflow_name(text: str) -> str:
    """Return a name in which characters that MLflow does not allow are underscores."""
    return re.sub(r"[^\w.:/ -]", "_", text)[:NAME_LENGTH]


def _batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
