"""Inference graphs of policies of Stable-Baselines3, for export."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.learners.sb3.zero_based_spaces import shift_start
from rlcl.types import Encoder, Graph

__all__ = ["sb3_graph"]


class Sb3Module(nn.Module):
    """Encoder and policy, with the conversions that ``predict`` of Stable-Baselines3 performs in NumPy.

    Args:
        encoder: a fitted encoder.
        policy: policy of a trained model.
        spaces: observation space and action space of the environment.
    """

    def __init__(self, encoder: Encoder, policy: Any, spaces: tuple[gym.Space[Any], gym.Space[Any]]) -> None:
        super().__init__()
        self.policy = copy.deepcopy(policy).eval()
        self._encoder = encoder
        self._observations, self._actions = spaces

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Return actions for observations, one array for each part."""
        actions, space = self.policy._predict(self._policy_inputs(arrays), deterministic=True), self.policy.action_space
        actions = actions.reshape(-1, *space.shape)
        if not isinstance(space, gym.spaces.Box):
            return (shift_start(actions, self._actions, 1),)
        low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
        if self.policy.squash_output:
            return (low + 0.5 * (actions + 1.0) * (high - low),)
        return (torch.minimum(torch.maximum(actions, low), high),)

    def encoded(self, *arrays: Tensor) -> Tensor:
        """Return the features of the policy's extractor, for images those of its convolutional layers."""
        policy = self.policy
        parts = (getattr(policy, name, None) for name in ("actor", "q_net", "quantile_net"))
        acting = next((part for part in parts if part is not None), policy)
        extractor = getattr(acting, "pi_features_extractor", acting.features_extractor)
        inputs = self._policy_inputs(arrays)
        inputs = preprocess_obs(inputs, acting.observation_space, normalize_images=acting.normalize_images)
        features: Tensor = extractor(inputs)
        return features

    def logits(self, *arrays: Tensor) -> Tensor:
        """Return logits (B, K) of a categorical policy."""
        logits: Tensor = self.policy.get_distribution(self._policy_inputs(arrays)).distribution.logits
        return logits

    def values(self, *arrays: Tensor) -> Tensor:
        """Return action values (B, K) of a policy with a Q-network."""
        values: Tensor = self.policy.q_net(self._policy_inputs(arrays))
        return values

    def _policy_inputs(self, arrays: tuple[Tensor, ...]) -> Any:
        """Return the inputs of ``obs_to_tensor``: encoded observations, images with channels first."""
        space = self.policy.observation_space
        if isinstance(space, gym.spaces.Dict):
            parts = shift_start(dict(zip(space.spaces, arrays, strict=True)), self._observations, -1)
            return {name: _channels_first(parts[name], part) for name, part in space.spaces.items()}
        x = shift_start(arrays[0], self._observations, -1)
        return _channels_first(self._encoder.encode(x) if space.shape else x, space)


def sb3_graph(algorithm: str, encoder: Encoder, policy: Any, spaces: tuple[gym.Space[Any], gym.Space[Any]]) -> Graph:
    """Build the inference graph of a policy.

    Args:
        algorithm: name of the algorithm, for messages.
        encoder: a fitted encoder.
        policy: policy of a trained model.
        spaces: observation space and action space of the environment.

    Raises:
        UnsupportedError: the policy is recurrent.
    """
    if hasattr(policy, "lstm_actor"):
        raise UnsupportedError(
            f"export of the recurrent policy of {algorithm} is not supported; use learner ppo with recurrent"
        )
    module, scores = Sb3Module(encoder, policy, spaces), None
    if isinstance(policy.action_space, gym.spaces.Discrete) and hasattr(policy, "get_distribution"):
        scores = module.logits
    elif hasattr(policy, "q_net"):
        scores = module.values
    return Graph(kind="policy", module=module, encoded=module.encoded, scores=scores)


def _channels_first(x: Tensor, space: gym.Space[Any]) -> Tensor:
    if not is_image_space(space) or tuple(x.shape[1:]) == space.shape:
        return x
    return x.permute(0, 3, 1, 2)
