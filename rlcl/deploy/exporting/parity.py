"""Whether the ONNX graph answers as the learner does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch

from rlcl.deploy.exporting.graphs import scores
from rlcl.deploy.exporting.held_out import Reference
from rlcl.errors import BundleError, UnsupportedError
from rlcl.types import Graph

__all__ = ["answers", "check_filled", "check_parity"]

Array = np.ndarray[Any, Any]
TIE, RELATIVE = 1e-5, 1e-4
AT_ONCE = 256
NAMED = 5  # columns that a message names


def answers(graph: bytes, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """What ONNX Runtime computes for N rows, a bounded number at a time, the first one alone.

    Raises:
        BundleError: the graph does not load or run, or takes other inputs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    rows = len(next(iter(arrays.values())))
    cuts = [0, *range(1, rows, AT_ONCE), rows]
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        parts = [session.run(None, {name: array[a:b] for name, array in arrays.items()}) for a, b in pairwise(cuts)]
    except Exception as error:  # ONNX Runtime has no common class of its errors
        raise UnsupportedError(f"its ONNX graph does not run: {str(error).splitlines()[0]}") from error
    return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}


def check_parity(graph: Graph, found: Sequence[Mapping[str, Array]], references: Sequence[Reference]) -> dict[str, Any]:
    """Compares what the graph answers with the learner's own answers and states.

    Classes and discrete actions must be equal, but where the two best scores lie within 1e-5; numbers must agree
    within 1e-4 of their magnitude, or of the root mean square of all where that is greater.

    Args:
        graph: as torch computes it, for its scores.
        found: by ONNX Runtime, by name, for each reference.
        references: rows with the learner's answers.

    Returns:
        How many rows, ties, and the greatest relative difference of numbers.

    Raises:
        BundleError: they differ.
    """
    ties, difference = 0, 0.0
    for reference, answered in zip(references, found, strict=True):
        following = {f"{name}.next": state for name, state in reference.following.items()}
        for name, expected in {**_computed(graph, reference), **following}.items():
            actual = answered[name]
            if expected.shape != actual.shape:
                raise BundleError(f"parity: {name} has the shape {actual.shape}, and the learner's {expected.shape}")
            if np.issubdtype(expected.dtype, np.floating):
                difference = max(difference, _difference(name, expected, actual))
            else:
                ties += _ties(graph, reference, expected, actual)
    return {"rows": sum(map(len, references)), "ties": ties, "greatest_relative_difference": difference}


def check_filled(graph: Graph, holes: Reference, columns: Sequence[str]) -> None:
    """Looks whether the encoder fills in whatever is missing; what training happened to lack says little of it.

    Args:
        graph: as torch computes it.
        holes: rows of which any value may be missing, the first one all.
        columns: names of the inputs where they are a table's, else none.

    Raises:
        UnsupportedError: it leaves some missing, so that answers would be no numbers.
    """
    first = {name: torch.from_numpy(array[:1]) for name, array in holes.arrays().items()}

    def left(x: torch.Tensor) -> bool:
        with torch.no_grad():
            encoded = None if graph.encoded is None else graph.encoded(*{**first, "input": x}.values())
        return encoded is not None and bool(encoded.isnan().any())

    if not left(first["input"]):
        return
    wrong = islice((place for place in range(first["input"].numel()) if left(_without(first["input"], place))), NAMED)
    named = ", ".join(columns[place] if columns else f"input[{place}]" for place in wrong)
    raise UnsupportedError(
        f"values are missing in this run's data, and its encoder leaves {named or 'some inputs'} missing where it is, "
        "which training did not meet; a bundle answers whatever is missing: put impute before it, and run again"
    )


def _without(row: torch.Tensor, place: int) -> torch.Tensor:
    """Zeros but for one value, which is missing."""
    return torch.where(torch.arange(row.numel()).reshape(row.shape) == place, torch.nan, torch.zeros_like(row))


def _computed(graph: Graph, reference: Reference) -> dict[str, Array]:
    """What the learner answers, and the outputs beside it, as torch computes them."""
    parts = []
    for rows in np.array_split(np.arange(len(reference)), -(-len(reference) // AT_ONCE)):
        with torch.no_grad():
            parts.append(graph(*(torch.from_numpy(array[rows]) for array in reference.arrays().values())))
    beside = {name: np.concatenate([part[i].numpy() for part in parts]) for i, name in enumerate(graph.outputs)}
    return {**beside, graph.outputs[0]: reference.predicted}


def _difference(name: str, expected: Array, actual: Array) -> float:
    typical = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
    scale = np.maximum(np.maximum(np.abs(expected), typical), np.finfo(np.float32).tiny)
    greatest = float(np.max(np.abs(actual.astype(np.float64) - expected) / scale, initial=0.0))
    if not greatest <= RELATIVE:
        raise BundleError(
            f"parity: {name} of the ONNX graph differs from the learner's by {greatest:.2g} of its magnitude, and at "
            f"most {RELATIVE:g} is allowed; nothing was written"
        )
    return greatest


def _ties(graph: Graph, reference: Reference, expected: Array, actual: Array) -> int:
    """Rows that differ, each a tie."""
    wrong = expected != actual
    rows = np.flatnonzero(wrong.reshape(len(wrong), -1).any(1))
    if not len(rows):
        return 0
    with torch.no_grad():
        found = scores(graph, [torch.from_numpy(array[rows]) for array in reference.arrays().values()])
    gap = float("inf")
    if found is not None:
        best = found[torch.from_numpy(wrong[rows])].topk(2, -1).values
        gap = float((best[..., 0] - best[..., 1]).max())
    if gap > TIE:
        raise BundleError(
            f"parity: the ONNX graph decides otherwise than the learner in {len(rows)} of {len(expected)} rows, and no "
            f"tie explains it (scores {gap:.2g} apart); nothing was written"
        )
    return len(rows)
