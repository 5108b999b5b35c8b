"""What a bundle brings along to be compared with: held-out inputs, the model's answers to them, and their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.model import Model
from rlcl.deploy.monitoring.comparisons import Comparison, Features, Projections, Shares, columns, names, times_of
from rlcl.deploy.monitoring.losses import reference_losses
from rlcl.deploy.monitoring.summaries import comparisons as of_episodes
from rlcl.deploy.monitoring.summaries import shares_of
from rlcl.deploy.signature import Field, Signature
from rlcl.errors import BundleError

__all__ = ["FILE", "KINDS", "Reference", "is_discrete", "steps_of"]

Array = np.ndarray[Any, Any]

KINDS = ("inputs", "encoded", "predictions")
FILE = "reference.safetensors"


@define(eq=False)
class Reference:
    """The held-out sample of one bundle.

    Args:
        signature: of the bundle.
        inputs: (N, *shape) by name.
        outputs: (N, *shape) by name, what the model says of them.
        labels: (N,) int64 or (N, K) float32; None where there are none.
        model: whose encoder gives features; None to compare raw inputs instead.
        spacing: env steps from one row to the next, of a policy's.
        episodes: (R, ...) by kind, what the policy met in so many whole episodes
            (:meth:`rlcl.deploy.monitoring.summaries.Summary.rows`); None where that was not kept.
        actions: (K,) int64 that there are, where they are discrete and episodes were kept.
    """

    signature: Signature
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    labels: Array | None = None
    model: Model | None = None
    spacing: int = 1
    episodes: Mapping[str, Array] | None = None
    actions: Array | None = None
    comparisons: Mapping[str, Comparison] = field(init=False)
    of_episodes: Mapping[str, Comparison] = field(init=False)
    every: int = field(init=False)  # of so many successive requests one tells as much as all of them
    losses: Array = field(init=False)

    def __attrs_post_init__(self) -> None:
        inputs, encoded, predictions = self.tables(self.inputs, self.outputs).values()
        decisive = decided(self.signature)
        ordered = self.signature.kind == "policy"  # env steps of episodes, one after the other
        self.comparisons = {
            "inputs": Features(names(self.signature.inputs), inputs, ordered),
            "encoded": Projections(encoded, ordered),
            "predictions": Shares(self.signature.classes, predictions, ordered)
            if is_discrete(decisive)
            else Features(names([decisive]), predictions, ordered),
        }
        self.every = math.ceil(self.spacing * times_of(inputs).max()) if ordered else 1
        self.of_episodes = {} if self.episodes is None else of_episodes(self.signature, self.episodes, self.actions)
        self.losses = reference_losses(self.signature, self.outputs, self.labels)

    @classmethod
    def read(cls, bundle: Bundle) -> Reference:
        """
        Raises:
            BundleError: the bundle has none, or one that does not fit its signature.
        """
        from safetensors.numpy import load_file

        path, signature = bundle.path / FILE, bundle.signature
        try:
            found = load_file(path)
            inputs = {part.name: found[part.name].astype(part.dtype, copy=False) for part in signature.inputs}
            outputs = {part.name: found[f"output.{part.name}"] for part in signature.outputs}
            episodes = {kind: found[f"episodes.{kind}"] for kind in KINDS} if "episodes.inputs" in found else None
        except Exception as error:  # safetensors has a class of its own beside KeyError and OSError
            raise BundleError(
                f"{path} cannot be read ({type(error).__name__}: {error}), and without it there is nothing to "
                "compare requests with; export the run again"
            ) from error
        rows = {len(array) for array in (*inputs.values(), *outputs.values())}
        if len(rows) != 1 or rows == {0}:
            raise BundleError(f"{path} has {sorted(rows)} rows, not one number of at least 1; export the run again")
        spacing = int(found["spacing"][0]) if "spacing" in found else 1
        actions = found.get("episodes.actions")
        return cls(signature, inputs, outputs, found.get("labels"), Model(bundle), spacing, episodes, actions)

    def tables(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, Array]:
        """What is compared of a batch, by kind."""
        return tables_of(self.signature, self.model, inputs, outputs)

    def steps(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, Array]:
        """What is summed up of a batch of steps, by kind."""
        return steps_of(self.signature, self.model, inputs, outputs, self.actions)


def tables_of(
    signature: Signature, model: Model | None, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
) -> dict[str, Array]:
    """What is compared of a batch, by kind; see :class:`Reference` for the arguments."""
    raw, decisive = columns(signature.inputs, inputs), decided(signature)
    encoded = model.encoded(inputs) if model else None
    discrete = is_discrete(decisive)
    predictions = outputs[decisive.name] if discrete else columns([decisive], outputs)
    return {"inputs": raw, "encoded": raw if encoded is None else encoded, "predictions": predictions}


def steps_of(
    signature: Signature,
    model: Model | None,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
    actions: Array | None,
) -> dict[str, Array]:
    """The same with discrete actions as shares, of which there is a mean."""
    tables = tables_of(signature, model, inputs, outputs)
    return tables if actions is None else {**tables, "predictions": shares_of(tables["predictions"], actions)}


def decided(signature: Signature) -> Field:
    """The output that is watched: of an autoencoder its error, else the decisive one, which is the first."""
    named = {part.name: part for part in signature.outputs}
    return named.get("error", signature.outputs[0]) if signature.kind == "autoencoder" else signature.outputs[0]


def is_discrete(part: Field) -> bool:
    """Whether a row of it is one whole number: a class, or a discrete action."""
    return part.shape == () and np.dtype(part.dtype).kind in "biu"
