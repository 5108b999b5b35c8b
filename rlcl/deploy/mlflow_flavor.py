"""Bundles as models of MLflow (flavor ``python_function``), and their registration.

MLflow imports this module and calls ``_load_pyfunc`` to load such a model. The model contains the bundle's files and no
pickle.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from attrs import frozen

from rlcl.deploy import load
from rlcl.deploy.batch_prediction import predict_batches, read_inputs, write_table
from rlcl.deploy.bundle import Bundle
from rlcl.deploy.model import Model
from rlcl.deploy.signature import Field, Signature
from rlcl.errors import UnsupportedError
from rlcl.types import TableFormat

__all__ = ["BundleModel", "log_bundle"]

BATCH_ROWS = 1024


@frozen(eq=False)
class BundleModel:
    """Model of a bundle with the interface of MLflow.

    Args:
        model: the model.
    """

    model: Model

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return all outputs as a DataFrame, as ``rlcl predict`` writes them.

        Args:
            model_input: (B, *shape) array; a mapping of such arrays; or a DataFrame, which is read as a table file is.
            params: ``{"task_id": k}`` if the model takes a task id.

        Raises:
            Problem: an input violates the signature; the error names its place.
        """
        import pandas

        task_id = (params or {}).get("task_id")
        if isinstance(model_input, pandas.DataFrame):
            return self._predict_table(model_input, task_id)
        outputs = self.model.run(self.model.signature.arrays(model_input, task_id))
        return self._frame(iter([outputs]))

    def _predict_table(self, table: Any, task_id: int | None) -> Any:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "rows.csv"
            reading = self.model.signature.inputs[0].reading or TableFormat()
            table.to_csv(file, index=False, sep=reading.delimiter)
            inputs = read_inputs(file, self.model.signature)
            return self._frame(predict_batches(self.model, inputs, BATCH_ROWS, task_id))

    def _frame(self, batches: Any) -> Any:
        import pandas

        text = io.StringIO()
        write_table(text, self.model.signature, batches)
        text.seek(0)
        texts = {field.name: str for field in self.model.signature.outputs if field.name == "class"}
        return pandas.read_csv(text, dtype=texts, keep_default_na=False)


def _load_pyfunc(path: str) -> BundleModel:
    """Return the model in a folder; MLflow calls this function."""
    return BundleModel(load(path))


def log_bundle(bundle: Bundle, name: str, uri: str | None, run_id: str | None = None) -> str:
    """Log a bundle as a model of MLflow and register it as the next version of a registered model.

    Args:
        bundle: the bundle.
        name: name in the model registry.
        uri: address of the tracking server or store; MLflow's own setting if None.
        run_id: run of MLflow that the model belongs to; None for a new run.

    Returns:
        The URI of the version: ``models:/NAME/VERSION``.

    Raises:
        UnsupportedError: MLflow is not installed, or the model is a recurrent policy.
    """
    try:
        import mlflow
    except ImportError as error:
        raise UnsupportedError("registering needs MLflow; install it with pip install 'rlcl[mlflow]'") from error
    signature = bundle.signature
    if signature.state:
        raise UnsupportedError("MLflow models have no state, and this is a recurrent policy; use rlcl serve")
    logging.getLogger("mlflow.models.model").setLevel(logging.ERROR)  # it asks for an example of the inputs
    if uri is not None:
        mlflow.set_tracking_uri(uri)
    if run_id is None:
        mlflow.set_experiment(name)
    with mlflow.start_run(run_id=run_id, run_name=None if run_id else bundle.path.name):
        logged = mlflow.pyfunc.log_model(
            name="model",
            loader_module=__name__,
            data_path=str(bundle.path),
            signature=_mlflow_signature(signature),
            pip_requirements=["rlcl[deploy,mlflow]"],
            registered_model_name=name,
            metadata={"rlcl_digest": bundle.digest},
        )
    return f"models:/{name}/{logged.registered_model_version}"


def _mlflow_signature(signature: Signature) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    def tensor(field: Field, name: str | None) -> Any:
        return TensorSpec(np.dtype(field.dtype), (-1, *field.shape), name)

    first = signature.inputs[0]
    if len(signature.inputs) > 1:
        inputs = Schema([tensor(field, field.name) for field in signature.inputs])
    elif first.columns:
        kinds = [(c.name, "string" if c.categorical else "double") for c in first.columns]
        inputs = Schema([ColSpec(kind, name, required=not first.missing) for name, kind in kinds])
    else:
        inputs = Schema([tensor(first, None)])
    # MLflow requires a default; the model rejects this one, because no task is the usual one.
    params = ParamSchema([ParamSpec("task_id", "long", -1)]) if signature.tasks else None
    return ModelSignature(inputs=inputs, params=params)
