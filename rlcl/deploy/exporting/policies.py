"""What a policy acts with, as one torch module from raw observations to actions of the environment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from rlcl.deploy.exporting.graphs import Graph
from rlcl.errors import UnsupportedError
from rlcl.learners.reinforcement.actions import Categorical, Gaussian, MultiCategorical, distribution_over
from rlcl.learners.reinforcement.bounded import bounded
from rlcl.learners.reinforcement.dqn import Dqn
from rlcl.learners.reinforcement.learner import ReinforcementLearner
from rlcl.learners.reinforcement.ppo import Ppo
from rlcl.learners.reinforcement.recurrent import Remembering
from rlcl.learners.reinforcement.sac import Sac
from rlcl.learners.reinforcement.td3 import Td3
from rlcl.learners.sb3.learner import StableBaselines3
from rlcl.registry import name_of
from rlcl.types import Encoder

__all__ = ["flattened", "policy_graph"]

Decide = Callable[[Tensor], Tensor]


class NativePolicy(Graph):
    """A network behind the encoder, and what makes actions of its outputs.

    Args:
        encoder: fitted.
        network: from encoded observations to outputs, (B, K).
        decide: from outputs to actions.
        scores: from outputs to what decides between actions, None where they are numbers.
        observations: of the environment, where they are flattened into one vector; None for arrays.
    """

    def __init__(
        self,
        encoder: Encoder,
        network: nn.Module,
        decide: Decide,
        scores: Decide | None,
        observations: gym.Space[Any] | None,
    ) -> None:
        state = {"hidden": network.size, "cell": network.size} if isinstance(network, Remembering) else {}
        super().__init__("policy", ("action",), state=state)
        self.network = copy.deepcopy(network).eval()
        self._encoder, self._decide, self._scores, self._observations = encoder, decide, scores, observations

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        outputs, following = self._outputs(arrays)
        return (self._decide(outputs), *following)

    def encoded(self, *arrays: Tensor) -> Tensor:
        inputs = arrays[: len(arrays) - len(self.state)]
        return self._encoder.encode(inputs[0] if self._observations is None else flattened(inputs, self._observations))

    def scores(self, *arrays: Tensor) -> Tensor | None:
        return None if self._scores is None else self._scores(self._outputs(arrays)[0])

    def _outputs(self, arrays: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        encoded = self.encoded(*arrays)
        if not isinstance(self.network, Remembering):
            return self.network(encoded), ()
        outputs, state = self.network.step(encoded, torch.stack(arrays[-2:]))
        return outputs, (state[0], state[1])


class Sb3Policy(Graph):
    """A policy of Stable-Baselines3 behind the encoder, with what its ``predict`` does around it in NumPy.

    Args:
        encoder: fitted.
        policy: of a trained model.
        names: of the inputs.
    """

    def __init__(self, encoder: Encoder, policy: Any, names: tuple[str, ...]) -> None:
        super().__init__("policy", ("action",))
        self.policy = copy.deepcopy(policy).eval()
        self._encoder, self._names = encoder, names

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        actions, space = self.policy._predict(self._seen(arrays), deterministic=True), self.policy.action_space
        if not isinstance(space, gym.spaces.Box):
            return (actions.reshape(-1, *space.shape),)
        low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
        actions = actions.reshape(-1, *space.shape)
        if self.policy.squash_output:
            return (low + 0.5 * (actions + 1.0) * (high - low),)
        return (torch.minimum(torch.maximum(actions, low), high),)

    def encoded(self, *arrays: Tensor) -> Tensor | None:
        """What the policy's own extractor makes of observations: for images its convolutions."""
        from stable_baselines3.common.preprocessing import preprocess_obs

        policy = self.policy
        parts = (getattr(policy, name, None) for name in ("actor", "q_net", "quantile_net"))
        acting = next((part for part in parts if part is not None), policy)
        extractor = getattr(acting, "pi_features_extractor", acting.features_extractor)
        seen = preprocess_obs(self._seen(arrays), acting.observation_space, normalize_images=acting.normalize_images)
        features: Tensor = extractor(seen)
        return features

    def scores(self, *arrays: Tensor) -> Tensor | None:
        seen = self._seen(arrays)
        if isinstance(self.policy.action_space, gym.spaces.Discrete) and hasattr(self.policy, "get_distribution"):
            found: Tensor = self.policy.get_distribution(seen).distribution.logits
            return found
        if hasattr(self.policy, "q_net"):
            values: Tensor = self.policy.q_net(seen)
            return values
        return None

    def _seen(self, arrays: tuple[Tensor, ...]) -> Any:
        """As ``obs_to_tensor`` gives it: encoded, images channels first."""
        space = self.policy.observation_space
        if isinstance(space, gym.spaces.Dict):
            parts = zip(self._names, arrays, strict=True)
            return {name: _channels_first(array, space[name]) for name, array in parts}
        return _channels_first(self._encoder.encode(arrays[0]) if space.shape else arrays[0], space)


def policy_graph(learner: Any, actions: gym.Space[Any], names: tuple[str, ...], flat: gym.Space[Any] | None) -> Graph:
    """The graph of a learner that acts.

    Args:
        learner: with its state loaded.
        actions: the space of one environment's.
        names: of the inputs.
        flat: the space of observations that are flattened into one vector; None for arrays.

    Raises:
        UnsupportedError: it acts in a way that no graph holds, with the reason.
    """
    if isinstance(learner, StableBaselines3):
        return _sb3(learner, names)
    if not isinstance(learner, ReinforcementLearner) or not isinstance(learner, Ppo | Dqn | Sac | Td3):
        raise UnsupportedError(
            f"learner {name_of('learner', learner)} cannot be exported: what it acts with is not known to be a torch "
            "module; ppo, dqn, sac, td3 and sb3 can be"
        )
    network = next(iter(learner.modules.values()))
    if isinstance(learner, Ppo):
        network = learner.policy.actor
        outputs = distribution_over(actions).outputs
        return NativePolicy(learner.encoder, network, *_of_distribution(actions, outputs), flat)
    if isinstance(learner, Dqn):
        assert isinstance(actions, gym.spaces.Discrete)
        count, start = int(actions.n), int(actions.start)
        return NativePolicy(
            learner.encoder, network, lambda y: y[:, -count:].argmax(1) + start, lambda y: y[:, -count:], flat
        )
    space = bounded(actions, learner.name)
    middle, half = (
        torch.from_numpy(np.asarray(a)) for a in ((space.low + space.high) / 2, (space.high - space.low) / 2)
    )
    low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)

    def stretched(outputs: Tensor) -> Tensor:
        chosen = outputs[:, : space.numbers].tanh().reshape(-1, *space.low.shape)
        return torch.minimum(torch.maximum(middle + half * chosen, low), high)

    return NativePolicy(learner.encoder, network, stretched, None, flat)


def _of_distribution(space: gym.Space[Any], outputs: int) -> tuple[Decide, Decide | None]:
    """Greedy actions, as the environment takes them, and their scores, of outputs (B, at least ``outputs``)."""
    found = distribution_over(space)
    if isinstance(found, Categorical):
        start = found.start
        return (lambda y: y[:, :outputs].argmax(1) + start), (lambda y: y[:, :outputs])
    if isinstance(found, MultiCategorical):
        starts, widest = torch.tensor(found.starts), max(found.sizes)

        def choices(y: Tensor) -> Tensor:
            parts = torch.split(y[:, :outputs], list(found.sizes), 1)
            return torch.stack([F.pad(p, (0, widest - p.shape[1]), value=-torch.inf) for p in parts], 1)

        return (lambda y: choices(y).argmax(2) + starts), choices
    assert isinstance(found, Gaussian)
    low, high = torch.from_numpy(found.low), torch.from_numpy(found.high)

    def cut(y: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(y[:, :outputs].reshape(-1, *low.shape), low), high)

    return cut, None


def _sb3(learner: StableBaselines3, names: tuple[str, ...]) -> Graph:
    policy: Any = learner.model.policy
    if hasattr(policy, "lstm_actor"):
        raise UnsupportedError(
            f"learner sb3 ({learner.algorithm}) cannot be exported: its policy remembers in a form of its own; use ppo "
            "with recurrent"
        )
    return Sb3Policy(learner.encoder, policy, names)


def _channels_first(x: Tensor, space: gym.Space[Any]) -> Tensor:
    from stable_baselines3.common.preprocessing import is_image_space

    if not is_image_space(space) or tuple(x.shape[1:]) == space.shape:
        return x
    return x.permute(0, 3, 1, 2)


def flattened(inputs: tuple[Tensor, ...], space: gym.Space[Any]) -> Tensor:
    """(B, F) float32 as Gymnasium's ``flatten`` makes it: parts one after the other, things one-hot."""
    parts: Mapping[str, gym.Space[Any]] = space.spaces if isinstance(space, gym.spaces.Dict) else {"input": space}
    return torch.cat([_flat(x, part) for x, part in zip(inputs, parts.values(), strict=True)], 1)


def _flat(x: Tensor, space: gym.Space[Any]) -> Tensor:
    if isinstance(space, gym.spaces.Discrete):
        return F.one_hot(x - int(space.start), int(space.n)).to(torch.float32)
    if isinstance(space, gym.spaces.MultiDiscrete):
        values = (x - torch.from_numpy(space.start)).flatten(1).unbind(1)
        things = zip(values, space.nvec.ravel().tolist(), strict=True)
        return torch.cat([F.one_hot(value, n) for value, n in things], 1).to(torch.float32)
    return x.flatten(1).to(torch.float32)
