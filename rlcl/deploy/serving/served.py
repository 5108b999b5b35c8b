"""A loaded model with all that its requests and answers need."""

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
from rlcl.deploy.serving.refused import check_text, invalid, unknown_key
from rlcl.deploy.signature import Field, Misplaced, Signature
from rlcl.errors import BundleError

__all__ = ["Served"]

Array = np.ndarray[Any, Any]

# A run that takes longer is made in a thread, so that the server goes on reading meanwhile; for a shorter one the
# change of threads would take longer than the run.
QUICK_SECONDS = 0.002


@define(eq=False)
class Served:
    """One bundle that answers.

    Args:
        model: of an open bundle.
        name: in the alias.
        quick: whether a full batch is run in so little time that nobody notices a wait for it.
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
        self.key = "observations" if self.acts else "inputs"

    @property
    def acts(self) -> bool:
        return self.signature.kind == "policy"

    @classmethod
    def load(cls, path: Path, name: str, threads: int, rows: int) -> Served:
        """Opens a bundle, and runs it once to see that it works and how long it takes.

        Args:
            path: of the bundle.
            name: in the alias.
            threads: of ONNX Runtime.
            rows: of a full batch.

        Raises:
            BundleError: it is damaged, or its graph does not do what its signature says.
        """
        model = Model(Bundle.open(path), threads)
        signature = model.signature
        seconds = min(_tried(model, rows) for _ in range(3))
        if signature.kind == "classifier" and len(signature.classes) != signature.outputs[1].shape[0]:
            raise BundleError(f"{path}: as many classes as probabilities are needed; export the run again")
        return cls(model, name, seconds < QUICK_SECONDS)

    def read(self, request: Any, max_rows: int) -> tuple[dict[str, Array], int | None, list[str] | None]:
        """What a request asks for, as the graph takes it, its task id, and the episodes that it names.

        Args:
            request: the decoded body.
            max_rows: that it may hold.

        Raises:
            Refused: with the place of what is wrong.
        """
        _check_keys(request, self.key, self.keys)
        value, task_id = request[self.key], request.get("task_id")
        if task_id is not None and type(task_id) is not int:
            raise invalid(f"expected a whole number, got {type(task_id).__name__}", ["task_id"], task_id)
        _check_rows(value, self.key, max_rows)
        try:
            arrays = self.signature.arrays(value, task_id)
        except Misplaced as error:
            raise invalid(error.message, self._place(error, value), error.value) from None
        rows = len(arrays[self.signature.inputs[0].name])
        if self._remembers:
            arrays.update(self._state(request.get("state"), rows))
        return arrays, task_id, _episodes(request.get("episodes"), rows)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of a request, the inputs' first."""
        wanted = {"task_id": self.signature.tasks, "state": self._remembers, "episodes": self.acts}
        return (self.key, *(key for key, is_wanted in wanted.items() if is_wanted))

    @property
    def _remembers(self) -> bool:
        return bool(self.signature.state)

    def _place(self, error: Misplaced, value: Any) -> list[str | int]:
        if error.name == "task_id":
            return ["task_id"]
        named = [error.name] if isinstance(value, Mapping) and error.name in value else []
        return [self.key, *named, *error.place]

    def _state(self, state: Any, rows: int) -> dict[str, Array]:
        """The state that a client hands on; zeros at the begin of an episode, where there is none."""
        parts = self.signature.state
        if state is None:
            return {part.name: np.zeros((rows, *part.shape), part.dtype) for part in parts}
        names = {part.name for part in parts}
        if not isinstance(state, Mapping) or set(state) != names:
            raise invalid(f"expected an object of {', '.join(sorted(names))}, as the answer before had it", ["state"])
        made = {}
        for part in parts:
            value = state[part.name]
            if not isinstance(value, list) or len(value) != rows:
                raise invalid(f"expected a list of {rows}, one for each observation", ["state", part.name])
            try:
                made[part.name] = part.rows(value)
            except Misplaced as error:
                raise invalid(error.message, ["state", part.name, *error.place], error.value) from None
        return made

    def answer(self, ids: Sequence[str], outputs: Mapping[str, Array], start: int, stop: int) -> bytes:
        """The answer to rows ``start`` to ``stop`` of a batch, as JSON."""
        made: dict[str, Any] = {"ids": ids}
        for each in self.signature.outputs:
            made[each.name] = outputs[each.name][start:stop]
            if each.name == "class":
                made["names"] = [self.signature.classes[number] for number in made["class"].tolist()]
        if self._remembers:
            made["state"] = {part.name: outputs[f"{part.name}.next"][start:stop] for part in self.signature.state}
        made["bundle"] = self.digest
        return orjson.dumps(made, option=orjson.OPT_SERIALIZE_NUMPY)


def _check_keys(request: Any, key: str, allowed: Sequence[str]) -> None:
    if not isinstance(request, dict):
        raise invalid(f"expected an object with the key {key}")
    for name in request:
        if name not in allowed:
            raise unknown_key(name, allowed)
    if key not in request:
        raise invalid(f"missing; expected a list of {key}", [key])


def _check_rows(value: Any, key: str, most: int) -> None:
    lists = list(value.values()) if isinstance(value, dict) else [value]
    if not lists or not all(isinstance(rows, list) and rows for rows in lists):
        raise invalid("expected a list of at least one", [key], None if isinstance(value, list | dict) else value)
    if max(map(len, lists)) > most:
        raise invalid(f"expected at most {most} a request; send them in several", [key])


def _episodes(value: Any, rows: int) -> list[str] | None:
    """The name of each observation's episode; None where a client gives none."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != rows:
        raise invalid(f"expected a list of {rows}, the name of each observation's episode", ["episodes"])
    for row, name in enumerate(value):
        check_text(name, "the name of an episode", ["episodes", row])
    return value


def _tried(model: Model, rows: int) -> float:
    """Seconds of a run with zeros.

    Raises:
        BundleError: it fails, or gives other than the signature says.
    """
    signature = model.signature
    arrays = {f.name: np.zeros((rows, *f.shape), f.dtype) for f in (*signature.inputs, *signature.state)}
    if signature.tasks:
        arrays["task_id"] = np.zeros(rows, np.int64)
    started = time.perf_counter()
    try:
        found = model.run(arrays)
    except Exception as error:  # ONNX Runtime has no common class of its errors
        place = model.bundle.path / "model.onnx"
        raise BundleError(f"{place} does not run: {str(error).splitlines()[0]}; export the run again") from error
    seconds = time.perf_counter() - started
    for each in signature.outputs:
        _compare(model, each, each.name, found, rows)
    for each in signature.state:
        _compare(model, each, f"{each.name}.next", found, rows)
    return seconds


def _compare(model: Model, wanted: Field, name: str, found: Mapping[str, Array], rows: int) -> None:
    shape = (rows, *wanted.shape)
    if name not in found or found[name].shape != shape or found[name].dtype != wanted.dtype:
        got = f"{found[name].dtype} {found[name].shape}" if name in found else "nothing"
        raise BundleError(
            f"{model.bundle.path}: its signature says {wanted.dtype} {shape} of {name}, and model.onnx gives {got}; "
            "export the run again"
        )
