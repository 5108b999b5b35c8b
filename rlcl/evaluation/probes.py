"""Signs of lost plasticity, each one number of a network; they become records, and are no measure of performance."""

from __future__ import annotations

from attrs import frozen

from rlcl.config import option
from rlcl.evaluation import plasticity
from rlcl.evaluation.inside import Inside

__all__ = ["DeadUnits", "DormantRedo", "EffectiveRank", "GradientNorm", "StableRank", "WeightMagnitude"]


@frozen(kw_only=True)
class DormantRedo:
    """Share of hidden units whose activity is at most a fraction of their layer's mean.

    Of the units of all hidden layers together: a layer weighs by its units.

    Args:
        threshold: score up to which a unit is dormant (tau); at 0 only those that are never active.

    Source: Sokar et al. 2023, The dormant neuron phenomenon in deep reinforcement learning, definition 3.1.
    """

    threshold: float = option(0.1, ge=0)

    def __call__(self, network: Inside) -> float:
        return plasticity.dormant(network.magnitudes, self.threshold)


@frozen(kw_only=True)
class DeadUnits:
    """Share of hidden units that are 0 on every input, of the units of all hidden layers together.

    Source: Dohare et al. 2024, Loss of plasticity in deep continual learning, figure 4.
    """

    def __call__(self, network: Inside) -> float:
        return plasticity.dead_units(network.magnitudes)


@frozen(kw_only=True)
class EffectiveRank:
    """Effective rank of the last hidden layer, by the entropy of its singular values. Source: Roy & Vetterli 2007."""

    def __call__(self, network: Inside) -> float:
        return plasticity.effective_rank(network.features)


@frozen(kw_only=True)
class StableRank:
    """How many singular values make up most of the sum of those of the last hidden layer.

    Not the stable rank of Rudelson & Vershynin 2007; see :func:`rlcl.evaluation.plasticity.stable_rank`.

    Args:
        share: of the sum of the singular values.

    Source: Dohare et al. 2024, Loss of plasticity in deep continual learning; Kumar et al. 2021, section 3.
    """

    share: float = option(0.99, gt=0, le=1)

    def __call__(self, network: Inside) -> float:
        return plasticity.stable_rank(network.features, self.share)


@frozen(kw_only=True)
class WeightMagnitude:
    """Mean magnitude of all trainable parameters, biases among them. Source: Dohare et al. 2024, figure 4."""

    def __call__(self, network: Inside) -> float:
        return plasticity.weight_magnitude(network.weights)


@frozen(kw_only=True)
class GradientNorm:
    """Norm of the gradient of the last update, with what methods added and after clipping; absent before any.

    Source: Abbas et al. 2023, Loss of plasticity in continual deep reinforcement learning.
    """

    def __call__(self, network: Inside) -> float | None:
        return plasticity.gradient_norm(network.gradients) if network.gradients else None
