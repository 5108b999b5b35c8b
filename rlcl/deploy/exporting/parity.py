"""Parity checks of an ONNX graph: its outputs must equal those of the learner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch

from rlcl.deploy.exporting.graphs import decision_scores
from rlcl.deploy.exporting.reference_rows import ReferenceRows
from rlcl.errors import BundleError, UnsupportedError
from rlcl.types import Graph

__all__ = ["check_imputation", "check_parity", "run_graph"]

Array = np.ndarray[Any, Any]
MAX_TIE_GAP, MAX_RELATIVE_DIFFERENCE = 1e-5, 1e-4
CHUNK_ROWS = 256
MAX_NAMED_COLUMNS = 5  # in a message


def run_graph(graph: bytes, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Run a graph in ONNX Runtime for N rows, in chunks; the first row is a chunk of its own.

    Args:
        graph: serialized ONNX graph.
        arrays: inputs (N, ...) by name.

    Returns:
        The outputs (N, ...) by name.

    Raises:
        UnsupportedError: the graph cannot be loaded or run, or takes other inputs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    rows = len(next(iter(arrays.values())))
    bounds = [0, *range(1, rows, CHUNK_ROWS), rows]
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        parts = [session.run(None, {name: array[a:b] for name, array in arrays.items()}) for a, b in pairwise(bounds)]
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise UnsupportedError(f"the ONNX graph of the model does not run: {str(error).splitlines()[0]}") from error
    return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}


def check_parity(
    graph: Graph, onnx_outputs: Sequence[Mapping[str, Array]], references: Sequence[ReferenceRows]
) -> dict[str, Any]:
    """Compare the outputs of the ONNX graph with the outputs and states of the learner.

    Classes and discrete actions must be equal, unless the two highest scores differ by at most 1e-5. Numbers may differ
    by 1e-4 of their magnitude, or of the root mean square of all numbers if this is larger.

    Args:
        graph: inference graph in torch, which computes the scores.
        onnx_outputs: outputs of ONNX Runtime by name, for each element of ``references``.
        references: rows with the outputs of the learner.

    Returns:
        The number of rows, the number of ties, and the maximum relative difference of numbers.

    Raises:
        BundleError: an output differs.
    """
    ties, difference = 0, 0.0
    for reference, outputs in zip(references, onnx_outputs, strict=True):
        next_states = {f"{name}.next": state for name, state in reference.next_states.items()}
        for name, expected in {**_torch_outputs(graph, reference), **next_states}.items():
            actual = outputs[name]
            if expected.shape != actual.shape:
                raise BundleError(
                    f"parity: {name} has the shape {actual.shape} in the ONNX graph and {expected.shape} in the "
                    "learner; nothing was written"
                )
            if np.issubdtype(expected.dtype, np.floating):
                difference = max(difference, _max_difference(name, expected, actual))
            else:
                ties += _count_ties(graph, reference, expected, actual)
    return {"rows": sum(map(len, references)), "ties": ties, "greatest_relative_difference": difference}


def check_imputation(graph: Graph, incomplete: ReferenceRows, columns: Sequence[str]) -> None:
    """Check that the encoder imputes every missing value, including values that were never missing in training.

    Args:
        graph: inference graph in torch.
        incomplete: rows with missing values; all values of the first row are missing.
        columns: names of a table's columns; empty for other inputs.

    Raises:
        UnsupportedError: the encoder does not impute a value, so the outputs would be NaN.
    """
    first = {name: torch.from_numpy(array[:1]) for name, array in incomplete.arrays().items()}

    def has_nan(x: torch.Tensor) -> bool:
        with torch.no_grad():
            encoded = None if graph.encoded is None else graph.encoded(*{**first, "input": x}.values())
        return encoded is not None and bool(encoded.isnan().any())

    if not has_nan(first["input"]):
        return
    size = first["input"].numel()
    failing = islice((i for i in range(size) if has_nan(_missing_at(first["input"], i))), MAX_NAMED_COLUMNS)
    names = ", ".join(columns[i] if columns else f"input[{i}]" for i in failing)
    raise UnsupportedError(
        f"values are missing in this run's data, but its encoder does not impute {names or 'some inputs'}, which "
        "training data do not lack; a bundle must accept any missing value: put impute before the encoder and run again"
    )


def _missing_at(row: torch.Tensor, index: int) -> torch.Tensor:
    """Return a row of zeros with one missing value."""
    return torch.where(torch.arange(row.numel()).reshape(row.shape) == index, torch.nan, torch.zeros_like(row))


def _torch_outputs(graph: Graph, reference: ReferenceRows) -> dict[str, Array]:
    """Return the learner's predictions, and the other outputs of the graph as computed by torch."""
    parts = []
    for rows in np.array_split(np.arange(len(reference)), -(-len(reference) // CHUNK_ROWS)):
        with torch.no_grad():
            parts.append(graph(*(torch.from_numpy(array[rows]) for array in reference.arrays().values())))
    outputs = {name: np.concatenate([part[i].numpy() for part in parts]) for i, name in enumerate(graph.outputs)}
    return {**outputs, graph.outputs[0]: reference.predicted}


def _max_difference(name: str, expected: Array, actual: Array) -> float:
    typical = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
    scale = np.maximum(np.maximum(np.abs(expected), typical), np.finfo(np.float32).tiny)
    maximum = float(np.max(np.abs(actual.astype(np.float64) - expected) / scale, initial=0.0))
    if not maximum <= MAX_RELATIVE_DIFFERENCE:
        raise BundleError(
            f"parity: {name} of the ONNX graph differs from the learner's by {maximum:.2g} of its magnitude; allowed: "
            f"at most {MAX_RELATIVE_DIFFERENCE:g}; nothing was written"
        )
    return maximum


def _count_ties(graph: Graph, reference: ReferenceRows, expected: Array, actual: Array) -> int:
    """Return the number of rows with different decisions, all of which must be ties."""
    wrong = expected != actual
    rows = np.flatnonzero(wrong.reshape(len(wrong), -1).any(1))
    if not len(rows):
        return 0
    with torch.no_grad():
        scores = decision_scores(graph, [torch.from_numpy(array[rows]) for array in reference.arrays().values()])
    gap = float("inf")
    if scores is not None:
        best = scores[torch.from_numpy(wrong[rows])].topk(2, -1).values
        gap = float((best[..., 0] - best[..., 1]).max())
    if gap > MAX_TIE_GAP:
        raise BundleError(
            f"parity: the decisions of the ONNX graph differ from the learner's in {len(rows)} of {len(expected)} "
            f"rows, and not only in ties (the two highest scores differ by {gap:.2g}); nothing was written"
        )
    return len(rows)
