"""Variational autoencoder: its module and its bound, for the learner `vae` and the method `generative_replay`."""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from rlcl.data.validation import warn_once
from rlcl.errors import UnsupportedError

__all__ = [
    "Likelihood",
    "VaeModule",
    "check_range",
    "gaussian_divergence",
    "negative_bound",
    "negative_log_likelihood",
]

Likelihood = Literal["bernoulli", "gaussian"]


class VaeModule(nn.Module):
    """Variational autoencoder: an encoder and a decoder with a Gaussian distribution over codes.

    Args:
        encode: maps inputs (B, *shape) to the code's mean and log variance (B, 2 * code).
        decode: maps codes (B, code) to the likelihood's parameters (B, features).
        code: width of the code.
        likelihood: distribution whose parameters are the decoder's outputs.
    """

    def __init__(self, encode: nn.Module, decode: nn.Module, code: int, likelihood: Likelihood) -> None:
        super().__init__()
        self.encode = encode
        self.decode = decode
        self.code = code
        self.likelihood = likelihood

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode inputs, sample codes, and decode them.

        Args:
            x: (B, *shape) float32.
            noise: (B, code) standard normal.

        Returns:
            The decoder's outputs (B, features), and the code's mean and log variance (B, code).
        """
        mean, log_variance = self.encode(x).chunk(2, 1)
        return self.decode(mean + noise * (0.5 * log_variance).exp()), mean, log_variance

    def likelihood_mean(self, decoded: Tensor) -> Tensor:
        """Return the means (B, features) of the likelihood with parameters (B, features)."""
        return decoded.sigmoid() if self.likelihood == "bernoulli" else decoded

    def decode_mean(self, codes: Tensor) -> Tensor:
        """Decode codes (B, code) to the means (B, features) of the likelihood."""
        return self.likelihood_mean(self.decode(codes))


def negative_bound(decoded: Tensor, mean: Tensor, log_variance: Tensor, x: Tensor, likelihood: Likelihood) -> Tensor:
    """Compute the negative evidence lower bounds (B,) in nats, with one sampled code per input.

    Args:
        decoded, mean, log_variance: outputs of :meth:`VaeModule.forward`.
        x: (B, *shape), in [0, 1] for ``bernoulli``.
        likelihood: of the inputs.

    Source: Kingma & Welling 2014, Auto-encoding variational Bayes, eq. 10.
    """
    return negative_log_likelihood(decoded, x.flatten(1), likelihood) + gaussian_divergence(mean, log_variance)


def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Compute the divergences KL(N(mean, variance) || N(0, 1)), (B,) in nats, summed over the code (B, code).

    Source: Kingma & Welling 2014, appendix B.
    """
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)


def negative_log_likelihood(decoded: Tensor, x: Tensor, likelihood: Likelihood) -> Tensor:
    """Compute the negative log-likelihoods (B,) of x (B, F) in nats, summed over features.

    Args:
        decoded: (B, F) logits (``bernoulli``) or means of unit variance (``gaussian``).
        x: (B, F); for ``bernoulli`` in [0, 1], to which other values are clipped.
        likelihood: of the inputs.
    """
    if likelihood == "bernoulli":
        return F.binary_cross_entropy_with_logits(decoded, x.clamp(0, 1), reduction="none").sum(1)
    return 0.5 * ((decoded - x).square() + math.log(2 * math.pi)).sum(1)


def check_range(x: Tensor, likelihood: Likelihood, setting: str, first: bool) -> None:
    """Check that inputs are in [0, 1] for a Bernoulli likelihood, which is not defined elsewhere.

    Inputs that leave this range later, for example because the data drift, are clipped, with a warning.

    Args:
        x: encoded inputs.
        likelihood: of the inputs.
        setting: name of the setting, for the message.
        first: whether this is the first minibatch of the run.

    Raises:
        UnsupportedError: the inputs of the first minibatch are out of the likelihood's range.
    """
    if likelihood != "bernoulli":
        return
    low, high = map(float, x.aminmax())
    if low >= 0 and high <= 1:
        return
    if first:
        raise UnsupportedError(
            f"{setting}: bernoulli needs encoded inputs in [0, 1], and these lie in [{low:.3g}, {high:.3g}]; use the "
            "encoder scale, or likelihood: gaussian"
        )
    warn_once(
        f"{setting}: some encoded inputs are no longer in [0, 1], and are clipped for the bernoulli likelihood; if the "
        "data drift, likelihood: gaussian fits better"
    )
