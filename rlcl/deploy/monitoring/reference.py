"""The reference sample of a bundle: held-out inputs, the model's predictions for them, and their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.model import Model
from rlcl.deploy.monitoring.comparisons import (
    ClassShareComparison,
    FeatureComparison,
    ProjectionComparison,
    WindowComparison,
    column_names,
    feature_correlation_times,
    feature_matrix,
)
from rlcl.deploy.monitoring.episode_summaries import action_shares, episode_comparisons
from rlcl.deploy.monitoring.losses import reference_losses
from rlcl.deploy.signature import Field, Signature
from rlcl.errors import BundleError

__all__ = ["FILE", "KINDS", "ReferenceSample", "is_discrete", "step_tables"]

Array = np.ndarray[Any, Any]

KINDS = ("inputs", "encoded", "predictions")
FILE = "reference.safetensors"


@define(eq=False)
class ReferenceSample:
    """The held-out sample of one bundle, and the comparisons with it.

    Args:
        signature: signature of the bundle.
        inputs: (N, *shape) held-out inputs by name.
        outputs: (N, *shape) outputs of the model for these inputs, by name.
        labels: (N,) int64 or (N, K) float32 labels; None if there are none.
        model: model that computes encoded features; None to compare raw inputs instead.
        spacing: number of env steps between successive rows, for a policy.
        episodes: (R, ...) summaries of whole rollouts by kind
            (:meth:`rlcl.deploy.monitoring.episode_summaries.EpisodeSummary.rows`); None if the bundle has none.
        actions: (K,) int64 actions, if they are discrete and the bundle has episodes; otherwise None.
    """

    signature: Signature
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    labels: Array | None = None
    model: Model | None = None
    spacing: int = 1
    episodes: Mapping[str, Array] | None = None
    actions: Array | None = None
    comparisons: Mapping[str, WindowComparison] = field(init=False)
    episode_comparisons: Mapping[str, WindowComparison] = field(init=False)
    stride: int = field(init=False)  # one of this many successive requests carries as much information as all of them
    losses: Array = field(init=False)

    def __attrs_post_init__(self) -> None:
        inputs, encoded, predictions = self.comparison_tables(self.inputs, self.outputs).values()
        watched = watched_output(self.signature)
        ordered = self.signature.kind == "policy"  # rows are successive env steps of episodes
        self.comparisons = {
            "inputs": FeatureComparison(column_names(self.signature.inputs), inputs, ordered),
            "encoded": ProjectionComparison(encoded, ordered),
            "predictions": ClassShareComparison(self.signature.classes, predictions, ordered)
            if is_discrete(watched)
            else FeatureComparison(column_names([watched]), predictions, ordered),
        }
        self.stride = math.ceil(self.spacing * feature_correlation_times(inputs).max()) if ordered else 1
        self.episode_comparisons = (
            {} if self.episodes is None else episode_comparisons(self.signature, self.episodes, self.actions)
        )
        self.losses = reference_losses(self.signature, self.outputs, self.labels)

    @classmethod
    def read(cls, bundle: Bundle) -> ReferenceSample:
        """Read the reference sample of a bundle.

        Raises:
            BundleError: the bundle has no reference sample, or one that does not fit its signature.
        """
        from safetensors.numpy import load_file

        path, signature = bundle.path / FILE, bundle.signature
        try:
            arrays = load_file(path)
            inputs = {part.name: arrays[part.name].astype(part.dtype, copy=False) for part in signature.inputs}
            outputs = {part.name: arrays[f"output.{part.name}"] for part in signature.outputs}
            episodes = {kind: arrays[f"episodes.{kind}"] for kind in KINDS} if "episodes.inputs" in arrays else None
        except Exception as error:  # safetensors raises its own class beside KeyError and OSError
            raise BundleError(
                f"{path} cannot be read ({type(error).__name__}: {error}); requests are compared with it; "
                "export the run again"
            ) from error
        rows = {len(array) for array in (*inputs.values(), *outputs.values())}
        if len(rows) != 1 or rows == {0}:
            raise BundleError(
                f"{path}: its arrays have {sorted(rows)} rows; expected the same number, at least 1, in all of them; "
                "export the run again"
            )
        spacing = int(arrays["spacing"][0]) if "spacing" in arrays else 1
        actions = arrays.get("episodes.actions")
        return cls(signature, inputs, outputs, arrays.get("labels"), Model(bundle), spacing, episodes, actions)

    def comparison_tables(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the compared values of a batch, by kind."""
        return comparison_tables(self.signature, self.model, inputs, outputs)

    def step_tables(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the values of a batch of env steps that an episode summary is computed from, by kind."""
        return step_tables(self.signature, self.model, inputs, outputs, self.actions)


def comparison_tables(
    signature: Signature, model: Model | None, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the compared values of a batch, by kind; see :class:`ReferenceSample` for the arguments."""
    raw, watched = feature_matrix(signature.inputs, inputs), watched_output(signature)
    encoded = model.encoded(inputs) if model else None
    discrete = is_discrete(watched)
    predictions = outputs[watched.name] if discrete else feature_matrix([watched], outputs)
    return {"inputs": raw, "encoded": raw if encoded is None else encoded, "predictions": predictions}


def step_tables(
    signature: Signature,
    model: Model | None,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
    actions: Array | None,
) -> dict[str, Array]:
    """Return the same as :func:`comparison_tables`, with discrete actions as one-hot rows, which have a mean."""
    tables = comparison_tables(signature, model, inputs, outputs)
    return tables if actions is None else {**tables, "predictions": action_shares(tables["predictions"], actions)}


def watched_output(signature: Signature) -> Field:
    """Return the output that is compared: the error of an autoencoder, else the first output."""
    outputs = {part.name: part for part in signature.outputs}
    return outputs.get("error", signature.outputs[0]) if signature.kind == "autoencoder" else signature.outputs[0]


def is_discrete(part: Field) -> bool:
    """Return whether one row of a field is a single integer: a class or a discrete action."""
    return part.shape == () and np.dtype(part.dtype).kind in "biu"
