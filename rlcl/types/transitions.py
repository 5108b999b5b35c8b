"""Transitions that reinforcement learners collect, and the interfaces of hosts that expose them to methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from rlcl.types.methods import Batch, Host

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = ["ActionEvaluation", "BehaviourHost", "CriticHost", "TransitionHost", "Transitions"]


class Transitions(NamedTuple):
    """B sequences of T consecutive env steps each, on the device.

    A sequence may contain the end of an episode; the next row is then the first step of the following episode.

    Args:
        observations: (T, B, *encoded) float32, encoded with the task of each transition.
        actions: (T, B, *action) as the learner samples them, before they are converted for the environment.
        rewards: (T, B) float32, normalized if the encoder normalizes rewards.
        next_observations: (T, B, *encoded) float32 after the step; of a truncated episode before the reset. Rows of
            terminated episodes are arbitrary: nothing may depend on the value of a terminal state.
        terminated: (T, B) bool, whether the next state is terminal.
        ended: (T, B) bool, whether the episode is finished, terminated or truncated.
        log_probs: (T, B) float32 log-probabilities (discrete) or log-densities (continuous) of the actions under the
            policy that took them; None if the host does not provide ``log_probs``.
        masks: (T, B, K) bool, actions allowed in ``observations``; None if all are.
        next_masks: (T, B, K) bool, actions allowed in ``next_observations``; None if all are, or if the learner's loss
            does not depend on them.
        task_ids: (T, B) int64; None if they are hidden.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminated: Tensor
    ended: Tensor
    log_probs: Tensor | None = None
    masks: Tensor | None = None
    next_masks: Tensor | None = None
    task_ids: Tensor | None = None


class ActionEvaluation(NamedTuple):
    """Current policy and value function at given transitions, differentiable.

    Args:
        outputs: (T, B, K) as :meth:`rlcl.types.Host.outputs` returns them, without masks.
        log_probs: (T, B) log-probabilities or log-densities of the actions, with masks.
        entropies: (T, B) in nats, with masks.
        values: (T, B) of the observations.
    """

    outputs: Tensor
    log_probs: Tensor
    entropies: Tensor
    values: Tensor


@runtime_checkable
class TransitionHost(Host, Protocol):
    """A reinforcement learner that exposes its transitions and its loss: it provides ``transitions``."""

    @property
    def gamma(self) -> float:
        """Discount factor."""
        ...

    @property
    def collected(self) -> Transitions | None:
        """Transitions of the round in progress, one sequence per environment, before the updates on them.

        It is the same object during all updates of a round, and None outside of a round's updates.
        """
        ...

    def transition_loss(self, module: str, transitions: Transitions, rng: np.random.Generator) -> Tensor:
        """Return the learner's own mean loss of one module on given transitions, a scalar.

        It is differentiable by the parameters of that module. Its gradient by other modules has no meaning; use
        ``torch.autograd.grad`` with the parameters of the module.

        Args:
            module: key of ``modules``.
            transitions: any transitions of the same spaces.
            rng: source of the noise of sampled actions, if the loss samples actions.
        """
        ...


@runtime_checkable
class BehaviourHost(TransitionHost, Protocol):
    """A host with a stochastic policy and a state-value function: it provides ``log_probs``."""

    def evaluate_actions(self, transitions: Transitions) -> ActionEvaluation:
        """Evaluate the current policy and value function at transitions."""
        ...

    def values(self, observations: Tensor, task_ids: Tensor | None) -> Tensor:
        """Return the values (B,) of encoded observations (B, *encoded), without gradient."""
        ...


@runtime_checkable
class CriticHost(Host, Protocol):
    """A host whose modules have inputs and outputs of their own, as actor and critics do: it provides ``critic``."""

    def sample_inputs(self, module: str, n: int | None, rng: np.random.Generator) -> Batch:
        """Sample at most ``n`` inputs of a module (None: all) of the experience that has just ended.

        Args:
            module: key of ``modules``.
            n: number of inputs, sampled without replacement.
            rng: source of randomness.

        Returns:
            Inputs (B, in) and task ids: observations for the primary module, observations joined with actions for
            critics.
        """
        ...

    def module_outputs(self, module: str, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """Return differentiable outputs (B, K) of a module: those of ``outputs``, or the values of K critics."""
        ...
