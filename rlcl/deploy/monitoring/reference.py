"""What a bundle brings along to be compared with: held-out inputs, the model's answers to them, and their labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.model import Model
from rlcl.deploy.monitoring.comparisons import Comparison, Features, Projections, Shares, columns, names
from rlcl.deploy.monitoring.losses import reference_losses
from rlcl.deploy.signature import Field, Signature
from rlcl.errors import BundleError

__all__ = ["KINDS", "Reference"]

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
    """

    signature: Signature
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    labels: Array | None = None
    model: Model | None = None
    comparisons: Mapping[str, Comparison] = field(init=False)
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
        except Exception as error:  # safetensors has a class of its own beside KeyError and OSError
            raise BundleError(
                f"{path} cannot be read ({type(error).__name__}: {error}), and without it there is nothing to "
                "compare requests with; export the run again"
            ) from error
        rows = {len(array) for array in (*inputs.values(), *outputs.values())}
        if len(rows) != 1 or rows == {0}:
            raise BundleError(f"{path} has {sorted(rows)} rows, not one number of at least 1; export the run again")
        return cls(signature, inputs, outputs, found.get("labels"), Model(bundle))

    def tables(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, Array]:
        """What is compared of a batch, by kind."""
        raw, decisive = columns(self.signature.inputs, inputs), decided(self.signature)
        encoded = self.model.encoded(inputs) if self.model else None
        discrete = is_discrete(decisive)
        predictions = outputs[decisive.name] if discrete else columns([decisive], outputs)
        return {"inputs": raw, "encoded": raw if encoded is None else encoded, "predictions": predictions}


def decided(signature: Signature) -> Field:
    """The output that is watched: of an autoencoder its error, else the decisive one, which is the first."""
    named = {part.name: part for part in signature.outputs}
    return named.get("error", signature.outputs[0]) if signature.kind == "autoencoder" else signature.outputs[0]


def is_discrete(part: Field) -> bool:
    """Whether a row of it is one whole number: a class, or a discrete action."""
    return part.shape == () and np.dtype(part.dtype).kind in "biu"
