"""Profile of experiences with arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from rlcl.data.overlap import find_copies, row_hashes
from rlcl.data.sources import read_chunks
from rlcl.evaluation.results import Array
from rlcl.types import ArraySource, Stream, StreamSpec

__all__ = [
    "MAX_FEATURES",
    "MAX_IMAGES",
    "SampleImages",
    "feature_names",
    "profile_arrays",
    "sample_images",
    "sample_rows",
]

STATISTICS_ROWS = 5000  # evenly spaced rows of an experience from which statistics are computed
MAX_FEATURES = 64  # longer vectors have no statistics of single features
MAX_IMAGES = 10  # of an experience


@frozen(eq=False)
class SampleImages:
    """Some training images of an experience.

    Args:
        images: (N, channels, height, width) of any dtype.
        labels: name of the class of each image; empty without classes.
    """

    images: Tensor
    labels: tuple[str, ...]


def profile_arrays(stream: Stream) -> list[dict[str, Any]]:
    """Return rows, classes, duplicates, copies in the test set, and feature statistics of each experience.

    ``of`` is the number of features of an input, and ``constant`` the number of features with a single value. For a
    column of texts, ``texts`` is the number of rows with each text.
    """
    return [
        {
            "index": experience.index,
            "name": experience.name,
            "train": _profile_split(experience.arrays, stream.spec),
            "test": {
                **_profile_split(experience.test, stream.spec),
                "copies": _copies(experience.arrays, experience.test),
            },
        }
        for experience in stream
    ]


def sample_rows(source: ArraySource, rows: int) -> Array:
    """Return at most ``rows`` evenly spaced rows (N, F) as float64."""
    indices = torch.linspace(0, len(source) - 1, min(rows, len(source))).long()
    return source.subset(indices).read()[0].flatten(1).double().numpy()


def feature_names(spec: StreamSpec) -> list[str]:
    """Return the name of each feature: the column of a table, otherwise the index."""
    if spec.columns:
        return [column.name for column in spec.columns]
    shape = spec.observation_shape
    return [str(i[0]) if len(shape) == 1 else str(list(i)) for i in np.ndindex(*shape)]


def sample_images(source: ArraySource, spec: StreamSpec) -> SampleImages | None:
    """Return some training images, the same number of each class if possible; None if inputs are not images."""
    shape = spec.observation_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        return None
    rows = torch.linspace(0, len(source) - 1, min(MAX_IMAGES, len(source))).long()
    labels: tuple[str, ...] = ()
    if spec.kind == "labelled":
        y = source.targets
        assert y is not None
        class_rows = [(y == c).nonzero().flatten() for c in torch.unique(y).tolist()]
        per_class = -(-MAX_IMAGES // len(class_rows))
        rows = torch.cat([indices[:per_class] for indices in class_rows])[:MAX_IMAGES]
        labels = tuple(spec.class_names[c] for c in y[rows].tolist())
    return SampleImages(source.subset(rows).read()[0], labels)


def _profile_split(source: Any, spec: StreamSpec) -> dict[str, Any]:
    x = sample_rows(source, STATISTICS_ROWS)
    constant = int(((x == x[:1]) | (np.isnan(x) & np.isnan(x[:1]))).all(0).sum()) if len(x) else 0
    facts: dict[str, Any] = {
        "rows": len(source),
        "duplicates": _duplicates(source),
        "of": x.shape[1],
        "constant": constant,
        **_statistics(x),
    }
    targets = source.targets
    if spec.kind == "labelled":
        facts["classes"] = targets.bincount(minlength=spec.classes).tolist()
    if spec.kind == "regression":
        facts["targets"] = [_statistics(column[:, None]) for column in targets.double().numpy().T]
    if len(spec.observation_shape) == 1 and x.shape[1] <= MAX_FEATURES:
        names = feature_names(spec)
        facts["features"] = [{"name": n, **_statistics(x[:, i : i + 1])} for i, n in enumerate(names)]
        for i, column in enumerate(spec.columns):
            if column.categorical:
                facts["features"][i]["texts"] = _text_counts(x[:, i], column.categories)
    return facts


def _text_counts(values: Array, texts: Sequence[str]) -> dict[str, int]:
    known = values[np.isfinite(values)].astype(np.int64)
    return dict(zip(texts, np.bincount(known, minlength=len(texts)).tolist(), strict=True))


def _statistics(x: Array) -> dict[str, float | None]:
    """Return statistics of all finite values; None if there are none."""
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
    """Return the number of rows that equal an earlier row."""
    hashes = np.concatenate([row_hashes(x) for x, _ in read_chunks(source)])
    return len(hashes) - len(np.unique(hashes))


def _copies(train: ArraySource, test: Any) -> int | None:
    """Return the number of test rows that equal a training row; None if either is streamed from disk."""
    return None if train.streamed or test.streamed else len(find_copies(train.read()[0], test.read()[0]))
