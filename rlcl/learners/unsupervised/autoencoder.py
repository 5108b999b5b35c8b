"""Autoencoder."""

from __future__ import annotations

import math
from typing import Any

import torch
from attrs import define
from torch import Tensor, nn

from rlcl.config import option
from rlcl.learners.gradient import GradientLearner
from rlcl.learners.inference_graphs import autoencoder_graph
from rlcl.learners.training_objective import weighted_mean
from rlcl.networks.mlp import Mlp
from rlcl.types import Batch, Graph, Network, Setup

__all__ = ["Autoencoder"]


class AutoencoderModule(nn.Module):
    """An encoder network and a decoder network."""

    def __init__(self, encode: nn.Module, decode: nn.Module) -> None:
        super().__init__()
        self.encode = encode
        self.decode = decode

    def forward(self, x: Tensor) -> Tensor:
        """Return the flat reconstructions (B, features) of inputs (B, *shape)."""
        reconstruction: Tensor = self.decode(self.encode(x))
        return reconstruction


@define(kw_only=True, eq=False)
class Autoencoder(GradientLearner):
    """Autoencoder that minimizes the mean squared error of reconstructing encoded inputs from a code.

    Args:
        network: network architecture from input to code.
        decoder: network architecture from code to reconstruction.
        code: dimension of the code.
        optimizer: torch optimizer, kept across all experiences.
        batch_size: samples in a minibatch; the last minibatch of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is dropped.
        augment: random augmentations of training inputs, in the order in which they are applied.
        methods: continual-learning methods, run in the order of their phases.

    Source: Hinton & Salakhutdinov 2006, Reducing the dimensionality of data with neural networks.
    """

    decoder: Network = option(factory=Mlp)
    code: int = option(32, ge=1)

    weighs = True

    @property
    def kind(self) -> str:
        return "reconstruction"

    @property
    def measures(self) -> tuple[str, ...]:
        labelled = self._setup is not None and self._setup.spec.kind == "labelled"
        return ("reconstruction_error", "linear_probe") if labelled else ("reconstruction_error",)

    needs = frozenset({"labelled", "regression", "unlabelled"})

    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        features = math.prod(shape)
        return AutoencoderModule(
            self.built(self.network, shape, self.code), self.built(self.decoder, (self.code,), features)
        )

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """Return reconstructions (B, features) of encoded inputs (B, *encoded)."""
        reconstruction: Tensor = self.module(x)
        return reconstruction

    def loss(self, batch: Batch) -> Tensor:
        # The target is the input without augmentation, so that the autoencoder denoises (Vincent et al. 2008).
        x = self.augmented(batch.inputs)
        outputs = self.outputs(x)
        loss = weighted_mean((outputs - batch.inputs.flatten(1)).square(), batch.weights)
        return self.with_memory(loss, x, outputs, batch)

    def losses(self, batch: Batch) -> Tensor:
        """Return the squared error (B,) of each input."""
        return (self.outputs(self.augmented(batch.inputs)) - batch.inputs.flatten(1)).square().mean(1)

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """Encode raw inputs (B, *observation) and return the reconstructions (B, features) of the encoded inputs."""
        with self.predicting(task_id):
            return torch.cat([self.outputs(part) for part, _ in self.chunks(x, task_id)]).cpu(), None

    def reconstruction_error(self, x: Any, task_id: int | None = None) -> Tensor:
        """Encode raw inputs (B, *observation) and return the mean squared error (B,) over the features of each."""
        with self.predicting(task_id):
            errors = [(self.outputs(part) - part.flatten(1)).square().mean(1) for part, _ in self.chunks(x, task_id)]
            return torch.cat(errors).cpu()

    def represent(self, x: Any, task_id: int | None = None) -> Tensor:
        """Return codes (B, code) of raw inputs (B, *observation)."""
        assert isinstance(self.module, AutoencoderModule)
        with self.predicting(task_id):
            return torch.cat([self.module.encode(part) for part, _ in self.chunks(x, task_id)]).cpu()

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""

        def decoded(outputs: Tensor, encoded: Tensor, network: nn.Module) -> tuple[Tensor, Tensor]:
            assert isinstance(network, AutoencoderModule)
            return outputs, network.encode(encoded)

        return autoencoder_graph(self, tasks, decoded)
