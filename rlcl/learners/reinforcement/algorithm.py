"""Abstract members of reinforcement learners: networks, acting, collecting, updates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.learners.reinforcement.collector import Collector
from rlcl.types import ActionEvaluation, Experience, Transitions

__all__ = ["ReinforcementAlgorithm"]


class ReinforcementAlgorithm(ABC):
    """Members by which :class:`rlcl.learners.reinforcement.learner.ReinforcementLearner` calls an algorithm.

    The optional hooks do nothing by default.
    """

    # Abstract members.

    @property
    @abstractmethod
    def kind(self) -> str:
        """See :class:`rlcl.types.Host`."""

    @property
    def choices(self) -> Sequence[int]:
        """See :class:`rlcl.types.ChoosingHost`."""
        return ()

    @property
    def sequence_length(self) -> int | None:
        """See :class:`rlcl.types.SequenceHost`."""
        return None

    @property
    @abstractmethod
    def modules(self) -> Mapping[str, nn.Module]:
        """See :class:`rlcl.types.Host`; the primary module, which acts, comes first."""

    @property
    @abstractmethod
    def optimizers(self) -> Mapping[str, Optimizer]:
        """Optimizers by the names of ``modules``."""

    @abstractmethod
    def build(self, shape: tuple[int, ...], actions: gym.Space[Any], num_envs: int) -> None:
        """Create modules and optimizers; torch's global generator is seeded before the call.

        Args:
            shape: shape of one encoded observation.
            actions: action space of a single environment.
            num_envs: number of parallel environments.
        """

    @property
    @abstractmethod
    def steps_per_round(self) -> int:
        """Env steps of one round of collecting and updating, over all environments."""

    @abstractmethod
    def collect(self, collector: Collector, progress: float) -> Any:
        """Collect ``steps_per_round`` env steps and return the data for :meth:`batches`.

        Args:
            collector: training environments.
            progress: used fraction of the budget that schedules cover (see ``schedule_over``), in [0, 1).
        """

    @abstractmethod
    def batches(self, collected: Any, collector: Collector, progress: float) -> Iterator[Any]:
        """Yield the batches of a round, one after the other.

        Args:
            collected: the return value of :meth:`collect`.
            collector: training environments.
            progress: used fraction of the budget that schedules cover (see ``schedule_over``), in [0, 1).
        """

    @abstractmethod
    def update_on(self, batch: Any) -> Tensor | None:
        """Update the networks on one batch of :meth:`batches`.

        An implementation sets :attr:`batch` to the encoded observations of the minibatch before each optimizer step:
        methods read it when they add to the gradient.

        Returns:
            Argument of :meth:`after_update`: errors (B,) of the batch's transitions for prioritized replay, or None.
        """

    @abstractmethod
    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """See :class:`rlcl.types.Host`."""

    @abstractmethod
    def act(
        self, observations: np.ndarray[Any, Any], masks: np.ndarray[Any, Any] | None = None
    ) -> np.ndarray[Any, Any]:
        """Return greedy actions (B, *action) in the environment's action space.

        Args:
            observations: (B, *encoded).
            masks: (B, K) bool, True for allowed actions; None if all are allowed or ``takes_action_masks`` is False.
        """

    @property
    def takes_action_masks(self) -> bool:
        """Whether actions are restricted by masks; see :mod:`rlcl.data.environments.action_masks`."""
        return False

    @property
    def samples_actions(self) -> bool:
        """Whether the policy is stochastic, so that :meth:`sampled_actions` is implemented."""
        return False

    @abstractmethod
    def recent_observations(self) -> np.ndarray[Any, Any]:
        """Return encoded observations (M, *encoded) of the current experience, or sequences (M, L, W) of them."""

    @abstractmethod
    def learner_state(self) -> dict[str, Any]:
        """Return the state of the subclass, without modules and optimizers."""

    @abstractmethod
    def load_learner_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`learner_state` returned."""

    # Optional hooks.

    @property
    def exploration_parameters(self) -> Sequence[tuple[nn.Parameter, Optimizer]]:
        """Learned parameters that control exploration, each with its optimizer."""
        return ()

    @property
    def critic_refusal(self) -> str | None:
        """Reason why critics cannot be reset, or None if :meth:`reset_critic` is implemented."""
        return "it has no critic"

    def reset_critic(self) -> None:
        """Replace the weights of critics and their targets by initial ones, and reset their optimizer states.

        torch's global generator is seeded before the call.
        """
        raise NotImplementedError

    @property
    def chooses_first_actions(self) -> bool:
        """Whether other policies may act at the start of an experience; see :meth:`start_exploration`."""
        return False

    def start_exploration(self, policy: str, finished: Experience) -> None:  # noqa: B027
        """Start the exploration of a new experience, before any state is reset.

        Args:
            policy: see :attr:`rlcl.types.BoundaryPolicy.exploration`.
            finished: the experience before.
        """

    @property
    def all_optimizers(self) -> Sequence[Optimizer]:
        """Optimizers of :attr:`optimizers` and of parameters outside of :attr:`modules`."""
        return tuple(self.optimizers.values())

    def act_on(
        self,
        observations: np.ndarray[Any, Any],
        masks: np.ndarray[Any, Any] | None,
        state: Any,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray[Any, Any], Any]:
        """Return actions (B, *action) and the next recurrent state; ``state`` is None as an episode starts.

        The actions are those of :meth:`act`, or of :meth:`sampled_actions` with ``rng``.
        """
        return (self.act(observations, masks) if rng is None else self.sampled_actions(observations, masks, rng)), None

    def sampled_actions(
        self, observations: np.ndarray[Any, Any], masks: np.ndarray[Any, Any] | None, rng: np.random.Generator
    ) -> np.ndarray[Any, Any]:
        """Sample actions (B, *action) of a stochastic policy, in the environment's action space; see :meth:`act`."""
        raise NotImplementedError

    @property
    def capabilities(self) -> frozenset[str]:
        """Capabilities of the host that depend on the algorithm; see :attr:`rlcl.types.Host.provides`."""
        return frozenset()

    @property
    def lacking(self) -> Mapping[str, str]:
        """See :class:`rlcl.types.LackingHost`."""
        return {}

    def transition_loss(self, module: str, transitions: Transitions, rng: np.random.Generator) -> Tensor:
        """See :class:`rlcl.types.TransitionHost`; required by ``transitions``."""
        raise NotImplementedError

    def recent_critic_inputs(self) -> tuple[Tensor, Tensor | None]:
        """Return inputs (M, in) of the critics in the current experience, with task ids; required by ``critic``."""
        raise NotImplementedError

    def critic_outputs(self, x: Tensor, task_ids: Tensor | None) -> Tensor:
        """Return the values (B, K) of K critics for inputs (B, in); required by ``critic``."""
        raise NotImplementedError

    def evaluate_actions(self, transitions: Transitions) -> ActionEvaluation:
        """See :class:`rlcl.types.BehaviourHost`; required by ``log_probs``."""
        raise NotImplementedError

    def state_values(self, observations: Tensor, task_ids: Tensor | None) -> Tensor:
        """See :meth:`rlcl.types.BehaviourHost.values`; required by ``log_probs``."""
        raise NotImplementedError

    def after_initial_weights(self) -> None:  # noqa: B027
        """React to initial weights of another run, which have been copied into the modules."""

    def ready(self) -> None:  # noqa: B027
        """React to methods that have been attached, and to weights that have moved in memory."""

    def after_update(self, errors: Tensor | None) -> None:  # noqa: B027
        """React to an update, with the return value of :meth:`update_on`."""

    @property
    def followers(self) -> Sequence[nn.Module]:
        """Target networks of the primary module."""
        return ()

    def planned_updates(self, experience: Experience) -> int | None:
        """Return the number of updates of the primary module in an experience that begins; None if it is not known."""
        return None

    @property
    def memory_bytes(self) -> int:
        """Size of the learner's replay buffer in bytes, without the memories of methods."""
        return 0

    def forget_memory(self) -> None:  # noqa: B027
        """Empty the learner's replay buffer."""
