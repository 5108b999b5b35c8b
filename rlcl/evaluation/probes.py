"""Probes: indicators of the loss of plasticity of a network, which are recorded but do not measure performance."""

from __future__ import annotations

from attrs import frozen

from rlcl.config import option
from rlcl.evaluation import plasticity
from rlcl.evaluation.network_activity import NetworkActivity

__all__ = ["DeadUnits", "DormantRedo", "EffectiveRank", "GradientNorm", "StableRank", "WeightMagnitude"]


@frozen(kw_only=True)
class DormantRedo:
    """Proportion of hidden units whose activity is at most a fraction of the mean activity of their layer.

    The proportion is over the units of all hidden layers.

    Args:
        threshold: maximum score of a dormant unit (tau); with 0 only units that are never active are dormant.

    Source: Sokar et al. 2023, The dormant neuron phenomenon in deep reinforcement learning, definition 3.1.
    """

    threshold: float = option(0.1, ge=0)

    def __call__(self, network: NetworkActivity) -> float:
        return plasticity.dormant_units(network.magnitudes, self.threshold)


@frozen(kw_only=True)
class DeadUnits:
    """Proportion of hidden units, over all hidden layers, that are 0 on every input.

    Source: Dohare et al. 2024, Loss of plasticity in deep continual learning, figure 4.
    """

    def __call__(self, network: NetworkActivity) -> float:
        return plasticity.dead_units(network.magnitudes)


@frozen(kw_only=True)
class EffectiveRank:
    """Effective rank of the last hidden layer, from the entropy of its singular values. Source: Roy & Vetterli 2007."""

    def __call__(self, network: NetworkActivity) -> float:
        return plasticity.effective_rank(network.features)


@frozen(kw_only=True)
class StableRank:
    """Minimum number of singular values of the last hidden layer whose sum is a given fraction of the sum of all.

    It is not the stable rank of Rudelson & Vershynin 2007; see :func:`rlcl.evaluation.plasticity.stable_rank`.

    Args:
        share: fraction of the sum of the singular values.

    Source: Dohare et al. 2024, Loss of plasticity in deep continual learning; Kumar et al. 2021, section 3.
    """

    share: float = option(0.99, gt=0, le=1)

    def __call__(self, network: NetworkActivity) -> float:
        return plasticity.stable_rank(network.features, self.share)


@frozen(kw_only=True)
class WeightMagnitude:
    """Mean magnitude of all trainable parameters, including biases. Source: Dohare et al. 2024, figure 4."""

    def __call__(self, network: NetworkActivity) -> float:
        return plasticity.weight_magnitude(network.weights)


@frozen(kw_only=True)
class GradientNorm:
    """Norm of the last update's gradient, after changes by methods and clipping; not recorded before the first update.

    Source: Abbas et al. 2023, Loss of plasticity in continual deep reinforcement learning.
    """

    def __call__(self, network: NetworkActivity) -> float | None:
        return plasticity.gradient_norm(network.gradients) if network.gradients else None
