"""Loaded model of a bundle, with the parser of its requests and the encoder of its answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from attrs import define, field

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.model import Model
from rlcl.deploy.serving.request_errors import check_text, invalid, unknown_key
from rlcl.deploy.signature import Field, InvalidInput, Signature
from rlcl.errors import BundleError

__all__ = ["LoadedModel"]

Array = np.ndarray[Any, Any]

# A longer run is executed in a thread, so that the server keeps reading requests. For a shorter run, switching threads
# would take longer than the run.
QUICK_SECONDS = 0.002


@define(eq=False)
class LoadedModel:
    """The model of one bundle, ready to answer requests.

    Args:
        model: model of an open bundle.
        name: name of the bundle in the alias.
        quick: whether a run of a full batch is short enough to block the event loop.
    """

    model: Model
    name: str
    quick: bool
    signature: Signature = field(init=False)
    digest: str = field(init=False)
    key: str = field(init=False)  # of the inputs in a request

    def __attrs_post_init__(self) -> None:
        self.signature = self.model.signature
        self.digest = self.model.bundle.digest
        self.key = "observations" if self.is_policy else "inputs"

    @property
    def is_policy(self) -> bool:
        """Whether the model answers /act instead of /predict."""
        return self.signature.kind == "policy"

    @classmethod
    def load(cls, path: Path, name: str, threads: int, rows: int) -> LoadedModel:
        """Open a bundle, and run its model a few times to check its outputs and measure its speed.

        Args:
            path: folder of the bundle.
            name: name of the bundle in the alias.
            threads: number of threads of ONNX Runtime.
            rows: number of rows of a full batch.

        Raises:
            BundleError: the bundle is damaged, or its graph does not agree with its signature.
        """
        model = Model(Bundle.open(path), threads)
        signature = model.signature
        seconds = min(_check_and_time(model, rows) for _ in range(3))
        if signature.kind == "classifier" and len(signature.classes) != signature.outputs[1].shape[0]:
            raise BundleError(
                f"{path}: its signature has {len(signature.classes)} classes and {signature.outputs[1].shape[0]} "
                "probabilities; expected the same number; export the run again"
            )
        return cls(model, name, seconds < QUICK_SECONDS)

    def parse_request(self, request: Any, max_rows: int) -> tuple[dict[str, Array], int | None, list[str] | None]:
        """Check a request, and convert it for the graph.

        Args:
            request: the decoded body.
            max_rows: maximum number of inputs in a request.

        Returns:
            The arrays by name, the task id, and the names of the episodes; None for each of the latter two if the
            request does not contain it.

        Raises:
            RequestError: the request is invalid; the error contains the location in the body.
        """
        _check_keys(request, self.key, self.keys)
        value, task_id = request[self.key], request.get("task_id")
        if task_id is not None and type(task_id) is not int:
            raise invalid(f"expected an integer, got {type(task_id).__name__}", ["task_id"], task_id)
        _check_rows(value, self.key, max_rows)
        try:
            arrays = self.signature.arrays(value, task_id)
        except InvalidInput as error:
            raise invalid(error.message, self._location(error, value), error.value) from None
        rows = len(arrays[self.signature.inputs[0].name])
        if self._is_recurrent:
            arrays.update(self._state(request.get("state"), rows))
        return arrays, task_id, _episodes(request.get("episodes"), rows)

    @property
    def keys(self) -> tuple[str, ...]:
        """Allowed keys of a request, that of the inputs first."""
        optional = {"task_id": self.signature.tasks, "state": self._is_recurrent, "episodes": self.is_policy}
        return (self.key, *(key for key, is_allowed in optional.items() if is_allowed))

    @property
    def _is_recurrent(self) -> bool:
        return bool(self.signature.state)

    def _location(self, error: InvalidInput, value: Any) -> list[str | int]:
        if error.name == "task_id":
            return ["task_id"]
        name = [error.name] if isinstance(value, Mapping) and error.name in value else []
        return [self.key, *name, *error.index]

    def _state(self, state: Any, rows: int) -> dict[str, Array]:
        """Return the recurrent state that the client sent, or zeros if it sent none (at the start of an episode)."""
        parts = self.signature.state
        if state is None:
            return {part.name: np.zeros((rows, *part.shape), part.dtype) for part in parts}
        names = {part.name for part in parts}
        if not isinstance(state, Mapping) or set(state) != names:
            raise invalid(
                f"expected an object with the keys {', '.join(sorted(names))}, as in the previous answer", ["state"]
            )
        arrays = {}
        for part in parts:
            value = state[part.name]
            if not isinstance(value, list) or len(value) != rows:
                raise invalid(f"expected a list of {rows}, one for each observation", ["state", part.name])
            try:
                arrays[part.name] = part.rows(value)
            except InvalidInput as error:
                raise invalid(error.message, ["state", part.name, *error.index], error.value) from None
        return arrays

    def answer(self, ids: Sequence[str], outputs: Mapping[str, Array], start: int, stop: int) -> bytes:
        """Return the answer for rows ``start`` to ``stop`` of a batch, as JSON."""
        content: dict[str, Any] = {"ids": ids}
        for output in self.signature.outputs:
            content[output.name] = outputs[output.name][start:stop]
            if output.name == "class":
                content["names"] = [self.signature.classes[number] for number in content["class"].tolist()]
        if self._is_recurrent:
            content["state"] = {part.name: outputs[f"{part.name}.next"][start:stop] for part in self.signature.state}
        content["bundle"] = self.digest
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _check_keys(request: Any, key: str, allowed: Sequence[str]) -> None:
    if not isinstance(request, dict):
        raise invalid(f"expected an object with the key {key}")
    for name in request:
        if name not in allowed:
            raise unknown_key(name, allowed)
    if key not in request:
        raise invalid(f"missing; expected a list of {key}", [key])


def _check_rows(value: Any, key: str, max_rows: int) -> None:
    lists = list(value.values()) if isinstance(value, dict) else [value]
    if not lists or not all(isinstance(rows, list) and rows for rows in lists):
        raise invalid("expected a list of at least one row", [key], None if isinstance(value, list | dict) else value)
    if max(map(len, lists)) > max_rows:
        raise invalid(f"expected at most {max_rows} rows per request; split them into several requests", [key])


def _episodes(value: Any, rows: int) -> list[str] | None:
    """Check the names of the observations' episodes; return None if the client did not name them."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != rows:
        raise invalid(f"expected a list of {rows}, the name of each observation's episode", ["episodes"])
    for row, name in enumerate(value):
        check_text(name, "the name of an episode", ["episodes", row])
    return value


def _check_and_time(model: Model, rows: int) -> float:
    """Run a model on zeros, check its outputs, and return the seconds of the run.

    Raises:
        BundleError: the run fails, or its outputs do not agree with the signature.
    """
    signature = model.signature
    arrays = {f.name: np.zeros((rows, *f.shape), f.dtype) for f in (*signature.inputs, *signature.state)}
    if signature.tasks:
        arrays["task_id"] = np.zeros(rows, np.int64)
    started = time.perf_counter()
    try:
        outputs = model.run(arrays)
    except Exception as error:  # ONNX Runtime's errors have no common class
        path = model.bundle.path / "model.onnx"
        raise BundleError(f"{path} cannot be run: {str(error).splitlines()[0]}; export the run again") from error
    seconds = time.perf_counter() - started
    for part in signature.outputs:
        _check_output(model, part, part.name, outputs, rows)
    for part in signature.state:
        _check_output(model, part, f"{part.name}.next", outputs, rows)
    return seconds


def _check_output(model: Model, declared: Field, name: str, outputs: Mapping[str, Array], rows: int) -> None:
    shape = (rows, *declared.shape)
    if name not in outputs or outputs[name].shape != shape or outputs[name].dtype != declared.dtype:
        actual = f"{outputs[name].dtype} {outputs[name].shape}" if name in outputs else "nothing"
        raise BundleError(
            f"{model.bundle.path}: its signature declares {declared.dtype} {shape} for {name}, but model.onnx returns "
            f"{actual}; export the run again"
        )
