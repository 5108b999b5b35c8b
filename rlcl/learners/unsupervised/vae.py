"""Variational autoencoder."""

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
from rlcl.networks.variational_autoencoder import Likelihood, VaeModule, check_range, negative_bound
from rlcl.types import Batch, Graph, Network, Setup

__all__ = ["Vae"]

EVALUATION_SEED = 0  # seed of the codes in evaluation, so that they are always the same


@define(kw_only=True, eq=False)
class Vae(GradientLearner):
    """Variational autoencoder that maximizes the evidence lower bound of its encoded inputs.

    The prior over codes is the standard normal distribution.

    Args:
        network: network architecture from input to the mean and log variance of the code.
        decoder: network architecture from code to the parameters of the likelihood.
        code: dimension of the code.
        likelihood: ``bernoulli`` for inputs in [0, 1], or ``gaussian`` with unit variance.
        optimizer: torch optimizer, kept across all experiences.
        batch_size: samples in a minibatch; the last minibatch of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is dropped.
        augment: random augmentations of training inputs, in the order in which they are applied.
        methods: continual-learning methods, run in the order of their phases.

    Source: Kingma & Welling 2014, Auto-encoding variational Bayes, eq. 10.
    """

    decoder: Network = option(factory=Mlp)
    code: int = option(20, ge=1)
    likelihood: Likelihood = option("bernoulli")

    weighs = True

    @property
    def kind(self) -> str:
        return "reconstruction"

    @property
    def measures(self) -> tuple[str, ...]:
        labelled = self._setup is not None and self._setup.spec.kind == "labelled"
        return ("negative_bound", "linear_probe") if labelled else ("negative_bound",)

    needs = frozenset({"labelled", "regression", "unlabelled"})
    shows_pass = False  # the loss is computed from a sampled code, and not from :meth:`outputs`

    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        features = math.prod(shape)
        encode, decode = (
            self.built(self.network, shape, 2 * self.code),
            self.built(self.decoder, (self.code,), features),
        )
        return VaeModule(encode, decode, self.code, self.likelihood)

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """Return the decoder's outputs (B, features) for the mean code of each encoded input."""
        assert isinstance(self.module, VaeModule)
        decoded: Tensor = self.module.decode(self.module.encode(x).chunk(2, 1)[0])
        return decoded

    def loss(self, batch: Batch) -> Tensor:
        check_range(batch.inputs, self.likelihood, "learner.likelihood", first=self.position.step == 0)
        noise = torch.randn(len(batch.inputs), self.code, device=batch.inputs.device)
        x = self.augmented(batch.inputs)
        bounds, decoded = self._bounds(x, noise)
        return self.with_memory(weighted_mean(bounds[:, None], batch.weights), x, decoded, batch)

    def losses(self, batch: Batch) -> Tensor:
        """Return the negative bound (B,) of each input in nats; the noise is always the same, for comparisons."""
        return self._bounds(self.augmented(batch.inputs), self._noise(len(batch.inputs), _evaluation_generator()))[0]

    def _bounds(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the negative bounds (B,) and the decoder's outputs (B, features)."""
        decoded, mean, log_variance = self.module(x, noise)
        return negative_bound(decoded, mean, log_variance, x, self.likelihood), decoded

    def _noise(self, rows: int, generator: torch.Generator) -> Tensor:
        return torch.randn(rows, self.code, generator=generator).to(self.device)

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """Encode raw inputs (B, *observation) and return the reconstructions (B, features) of the encoded inputs."""
        with self.predicting(task_id):
            assert isinstance(self.module, VaeModule)
            decoded = torch.cat([self.outputs(part) for part, _ in self.chunks(x, task_id)]).cpu()
            return self.module.likelihood_mean(decoded), None

    def negative_bound(self, x: Any, task_id: int | None = None) -> Tensor:
        """Return the negative evidence lower bounds (B,) of raw inputs in nats, with one sampled code per input."""
        generator = _evaluation_generator()
        with self.predicting(task_id):
            parts = [part for part, _ in self.chunks(x, task_id)]
            return torch.cat([self._bounds(part, self._noise(len(part), generator))[0] for part in parts]).cpu()

    def represent(self, x: Any, task_id: int | None = None) -> Tensor:
        """Return mean codes (B, code) of raw inputs (B, *observation)."""
        assert isinstance(self.module, VaeModule)
        with self.predicting(task_id):
            return torch.cat([self.module.encode(p).chunk(2, 1)[0] for p, _ in self.chunks(x, task_id)]).cpu()

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""

        def decoded(outputs: Tensor, encoded: Tensor, network: nn.Module) -> tuple[Tensor, Tensor]:
            assert isinstance(network, VaeModule)
            return network.likelihood_mean(outputs), network.encode(encoded).chunk(2, 1)[0]

        return autoencoder_graph(self, tasks, decoded)

    def generated(self, count: int, noise: torch.Generator) -> Tensor:
        """See :class:`rlcl.types.Generating`."""
        with self.predicting(None):
            assert isinstance(self.module, VaeModule)
            return self.module.decode_mean(self._noise(count, noise)).cpu()


def _evaluation_generator() -> torch.Generator:
    return torch.Generator().manual_seed(EVALUATION_SEED)
