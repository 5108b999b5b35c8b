"""The variational autoencoder: its module and its bound, for the learner `vae` and for `generative_replay`."""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

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
    """Two networks with a distribution over codes between them.

    Args:
        encode: (B, *shape) to the code's mean and log variance, (B, 2 * code).
        decode: (B, code) to the likelihood's parameters, (B, features).
        code: width of the code.
        likelihood: what the decoder's outputs are the parameters of.
    """

    def __init__(self, encode: nn.Module, decode: nn.Module, code: int, likelihood: Likelihood) -> None:
        super().__init__()
        self.encode = encode
        self.decode = decode
        self.code = code
        self.likelihood = likelihood

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

    def expected(self, decoded: Tensor) -> Tensor:
        """(B, features) means of the likelihood with the parameters (B, features)."""
        return decoded.sigmoid() if self.likelihood == "bernoulli" else decoded

    def generated(self, codes: Tensor) -> Tensor:
        """(B, features) means of the inputs that codes (B, code) stand for."""
        return self.expected(self.decode(codes))


def negative_bound(decoded: Tensor, mean: Tensor, log_variance: Tensor, x: Tensor, likelihood: Likelihood) -> Tensor:
    """(B,) negative evidence lower bounds in nats, with the one code that was drawn for each.

    Args:
        decoded, mean, log_variance: as :meth:`VaeModule.forward` gives them.
        x: (B, *shape), in [0, 1] for ``bernoulli``.
        likelihood: which.

    Source: Kingma & Welling 2014, Auto-encoding variational Bayes, eq. 10.
    """
    return negative_log_likelihood(decoded, x.flatten(1), likelihood) + gaussian_divergence(mean, log_variance)


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


def check_range(x: Tensor, likelihood: Likelihood, of: str) -> None:
    """A Bernoulli likelihood of anything but [0, 1] is no likelihood, and its bound no bound.

    Args:
        x: encoded inputs.
        likelihood: which.
        of: whose setting it is, for the message.

    Raises:
        UnsupportedError: the inputs do not go with the likelihood.
    """
    low, high = float(x.min()), float(x.max())
    if likelihood == "bernoulli" and (low < 0 or high > 1):
        raise UnsupportedError(
            f"{of}: bernoulli needs encoded inputs in [0, 1], and these lie in [{low:.3g}, {high:.3g}]; use the "
            "encoder scale, or likelihood: gaussian"
        )
