"""Unsupervised learning: a variational autoencoder."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define, field
from torch import Tensor, nn

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.learners.gradient import GradientLearner
from rlcl.networks.mlp import Mlp
from rlcl.types import Batch, Network, Setup

__all__ = ["Vae", "gaussian_divergence", "negative_log_likelihood"]

Likelihood = Literal["bernoulli", "gaussian"]
EVALUATION_SEED = 0  # of the codes drawn while evaluating: the same ones always


class VaeModule(nn.Module):
    """Two networks with a distribution over codes between them."""

    def __init__(self, encode: nn.Module, decode: nn.Module) -> None:
        super().__init__()
        self.encode = encode
        self.decode = decode

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        Args:
            x: (B, *shape) float32.
            noise: (B, code) standard normal.

        Returns:
            What the decoder says, flat (B, features), and the code's mean and log variance (B, code).
        """
        mean, log_variance = self.encode(x).chunk(2, 1)
        return self.decode(mean + noise * (0.5 * log_variance).exp()), mean, log_variance


@define(kw_only=True, eq=False)
class Vae(GradientLearner):
    """Maximises the evidence lower bound of its encoded inputs, with a standard normal prior over codes.

    Args:
        network: builds the network from input to the code's mean and log variance.
        decoder: builds the network from code to the likelihood's parameters.
        code: width of the code.
        likelihood: ``bernoulli`` for inputs in [0, 1], or ``gaussian`` of unit variance.
        optimizer: builds the torch optimizer, kept through all experiences.
        batch_size: samples in a minibatch; the last one of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is left out.
        augment: random changes of training inputs, in the order in which they are applied.
        methods: continual-learning methods; they run in the order of their phases.

    Source: Kingma & Welling 2014, Auto-encoding variational Bayes, eq. 10.
    """

    decoder: Network = option(factory=Mlp, help="builds the network from code to the likelihood's parameters")
    code: int = option(20, ge=1, help="width of the code")
    likelihood: Likelihood = option("bernoulli", help="bernoulli for inputs in [0, 1], or gaussian")

    _in_range: bool = field(init=False, default=False)

    @property
    def kind(self) -> str:
        return "reconstruction"

    @property
    def measures(self) -> tuple[str, ...]:
        labelled = self._setup is not None and self._setup.spec.kind == "labelled"
        return ("negative_bound", "linear_probe") if labelled else ("negative_bound",)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"labelled", "regression", "unlabelled"})

    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        features = math.prod(shape)
        return VaeModule(
            self.built(self.network, shape, 2 * self.code), self.built(self.decoder, (self.code,), features)
        )

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """(B, features): what the decoder says of each input's mean code."""
        assert isinstance(self.module, VaeModule)
        decoded: Tensor = self.module.decode(self.module.encode(x).chunk(2, 1)[0])
        return decoded

    def loss(self, batch: Batch) -> Tensor:
        if not self._in_range:
            self._check_range(batch.inputs)
        noise = torch.randn(len(batch.inputs), self.code, device=batch.inputs.device)
        return self._negative_bound(self.augmented(batch.inputs), noise).mean()

    def _check_range(self, x: Tensor) -> None:
        """Once: a Bernoulli likelihood of anything but [0, 1] is no likelihood, and its bound no bound."""
        low, high = float(x.min()), float(x.max())
        if self.likelihood == "bernoulli" and (low < 0 or high > 1):
            raise UnsupportedError(
                f"learner.likelihood: bernoulli needs encoded inputs in [0, 1], and these lie in [{low:.3g}, "
                f"{high:.3g}]; use the encoder scale, or likelihood: gaussian"
            )
        self._in_range = True

    def _negative_bound(self, x: Tensor, noise: Tensor) -> Tensor:
        decoded, mean, log_variance = self.module(x, noise)
        return negative_log_likelihood(decoded, x.flatten(1), self.likelihood) + gaussian_divergence(mean, log_variance)

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """(B, features) reconstructions of raw inputs (B, *observation), in the encoder's scale."""
        with self.predicting(task_id):
            decoded = torch.cat([self.outputs(part) for part, _ in self.chunks(x, task_id)]).cpu()
        return decoded.sigmoid() if self.likelihood == "bernoulli" else decoded, None

    def negative_bound(self, x: Any, task_id: int | None = None) -> Tensor:
        """(B,) negative evidence lower bounds of raw inputs, in nats, with one code drawn for each."""
        generator = torch.Generator().manual_seed(EVALUATION_SEED)
        with self.predicting(task_id):
            bounds = []
            for part, _ in self.chunks(x, task_id):
                noise = torch.randn(len(part), self.code, generator=generator).to(part.device)
                bounds.append(self._negative_bound(part, noise))
            return torch.cat(bounds).cpu()

    def represent(self, x: Any, task_id: int | None = None) -> Tensor:
        """(B, code) mean codes of raw inputs (B, *observation)."""
        assert isinstance(self.module, VaeModule)
        with self.predicting(task_id):
            return torch.cat([self.module.encode(p).chunk(2, 1)[0] for p, _ in self.chunks(x, task_id)]).cpu()


def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(B,) divergences KL(N(mean, variance) || N(0, 1)) in nats, summed over (B, code).

    Source: Kingma & Welling 2014, appendix B.
    """
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)


def negative_log_likelihood(decoded: Tensor, x: Tensor, likelihood: Likelihood) -> Tensor:
    """(B,) negative log-likelihoods of x (B, F) in nats, summed over features.

    Args:
        decoded: (B, F) logits (``bernoulli``) or means of unit variance (``gaussian``).
        x: (B, F), in [0, 1] for ``bernoulli``.
        likelihood: which.
    """
    if likelihood == "bernoulli":
        return F.binary_cross_entropy_with_logits(decoded, x, reduction="none").sum(1)
    return 0.5 * ((decoded - x).square() + math.log(2 * math.pi)).sum(1)
