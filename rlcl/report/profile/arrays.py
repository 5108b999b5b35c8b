"""The profile of experiences that are arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from rlcl.data.overlap import copies, row_hashes
from rlcl.data.sources import pieces
from rlcl.evaluation.results import Array
from rlcl.types import ArraySource, Stream, StreamSpec

__all__ = ["FEATURES", "PICTURES", "Pictured", "feature_names", "pictured", "profile_arrays", "sample"]

STATISTICS_ROWS = 5000  # of an experience, evenly spread, that statistics of features are of
FEATURES = 64  # of vectors that are told one by one
PICTURES = 10  # of an experience


@frozen(eq=False)
class Pictured:
    """Some training images of an experience.

    Args:
        images: (N, channels, height, width) of any type.
        labels: of each, as texts.
    """

    images: Tensor
    labels: tuple[str, ...]


def profile_arrays(stream: Stream) -> list[dict[str, Any]]:
    """Of each experience: rows, classes, duplicates, copies in the test set, and statistics of features.

    ``of`` is how many numbers an input has, ``constant`` how many of them never change; a column of texts has in
    ``texts`` how often each is there.
    """
    return [
        {
            "index": experience.index,
            "name": experience.name,
            "train": _split(experience.arrays, stream.spec),
            "test": {**_split(experience.test, stream.spec), "copies": _copies(experience.arrays, experience.test)},
        }
        for experience in stream
    ]


def sample(source: ArraySource, rows: int) -> Array:
    """(N, F) float64 of at most so many rows, evenly spread."""
    chosen = torch.linspace(0, len(source) - 1, min(rows, len(source))).long()
    return source.subset(chosen).read()[0].flatten(1).double().numpy()


def feature_names(spec: StreamSpec) -> list[str]:
    """A name a feature: the column of a table, else its place."""
    if spec.columns:
        return [column.name for column in spec.columns]
    shape = spec.observation_shape
    return [str(i[0]) if len(shape) == 1 else str(list(i)) for i in np.ndindex(*shape)]


def pictured(source: ArraySource, spec: StreamSpec) -> Pictured | None:
    """A few training images, of different classes first; None where inputs are no images."""
    shape = spec.observation_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        return None
    rows = torch.linspace(0, len(source) - 1, min(PICTURES, len(source))).long()
    labels: tuple[str, ...] = ()
    if spec.kind == "labelled":
        y = source.targets
        assert y is not None
        places = [(y == c).nonzero().flatten() for c in torch.unique(y).tolist()]
        each = -(-PICTURES // len(places))
        rows = torch.cat([place[:each] for place in places])[:PICTURES]
        labels = tuple(spec.class_names[c] for c in y[rows].tolist())
    return Pictured(source.subset(rows).read()[0], labels)


def _split(source: Any, spec: StreamSpec) -> dict[str, Any]:
    x = sample(source, STATISTICS_ROWS)
    constant = int(((x == x[:1]) | (np.isnan(x) & np.isnan(x[:1]))).all(0).sum()) if len(x) else 0
    found: dict[str, Any] = {
        "rows": len(source),
        "duplicates": _duplicates(source),
        "of": x.shape[1],
        "constant": constant,
        **_statistics(x),
    }
    targets = source.targets
    if spec.kind == "labelled":
        found["classes"] = targets.bincount(minlength=spec.classes).tolist()
    if spec.kind == "regression":
        found["targets"] = [_statistics(column[:, None]) for column in targets.double().numpy().T]
    if len(spec.observation_shape) == 1 and x.shape[1] <= FEATURES:
        names = feature_names(spec)
        found["features"] = [{"name": n, **_statistics(x[:, i : i + 1])} for i, n in enumerate(names)]
        for place, column in enumerate(spec.columns):
            if column.categorical:
                found["features"][place]["texts"] = _counts(x[:, place], column.categories)
    return found


def _counts(values: Array, texts: Sequence[str]) -> dict[str, int]:
    known = values[np.isfinite(values)].astype(np.int64)
    return dict(zip(texts, np.bincount(known, minlength=len(texts)).tolist(), strict=True))


def _statistics(x: Array) -> dict[str, float | None]:
    """Of all finite values; None where there are none."""
    known = x[np.isfinite(x)]
    if not known.size:
        return {"mean": None, "deviation": None, "least": None, "greatest": None, "missing": 1.0}
    return {
        "mean": float(known.mean()),
        "deviation": float(known.std()),
        "least": float(known.min()),
        "greatest": float(known.max()),
        "missing": 1 - known.size / x.size,
    }


def _duplicates(source: ArraySource) -> int:
    """Rows that equal an earlier one."""
    hashes = np.concatenate([row_hashes(x) for x, _ in pieces(source)])
    return len(hashes) - len(np.unique(hashes))


def _copies(train: ArraySource, test: Any) -> int | None:
    """Test rows that equal a training row; None where they stay on disk."""
    return None if train.streamed or test.streamed else len(copies(train.read()[0], test.read()[0]))
