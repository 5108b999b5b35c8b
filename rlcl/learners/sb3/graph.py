"""Graphs of policies of Stable-Baselines3, for export."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.learners.sb3.starts import shifted
from rlcl.types import Encoder, Graph

__all__ = ["sb3_graph"]


class Sb3Module(nn.Module):
    """A policy behind the encoder, with what its ``predict`` does around it in NumPy.

    Args:
        encoder: fitted.
        policy: of a trained model.
        spaces: of observations and of actions, as the environment has them.
    """

    def __init__(self, encoder: Encoder, policy: Any, spaces: tuple[gym.Space[Any], gym.Space[Any]]) -> None:
        super().__init__()
        self.policy = copy.deepcopy(policy).eval()
        self._encoder = encoder
        self._observations, self._actions = spaces

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Of observations, one array for each part, the action."""
        actions, space = self.policy._predict(self._seen(arrays), deterministic=True), self.policy.action_space
        actions = actions.reshape(-1, *space.shape)
        if not isinstance(space, gym.spaces.Box):
            return (shifted(actions, self._actions, 1),)
        low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
        if self.policy.squash_output:
            return (low + 0.5 * (actions + 1.0) * (high - low),)
        return (torch.minimum(torch.maximum(actions, low), high),)

    def encoded(self, *arrays: Tensor) -> Tensor:
        """What the policy's own extractor makes of observations: for images its convolutions."""
        policy = self.policy
        parts = (getattr(policy, name, None) for name in ("actor", "q_net", "quantile_net"))
        acting = next((part for part in parts if part is not None), policy)
        extractor = getattr(acting, "pi_features_extractor", acting.features_extractor)
        seen = preprocess_obs(self._seen(arrays), acting.observation_space, normalize_images=acting.normalize_images)
        features: Tensor = extractor(seen)
        return features

    def logits(self, *arrays: Tensor) -> Tensor:
        """(B, K) of a policy that draws one of K actions."""
        found: Tensor = self.policy.get_distribution(self._seen(arrays)).distribution.logits
        return found

    def values(self, *arrays: Tensor) -> Tensor:
        """(B, K) of a policy that takes the action of the greatest value."""
        found: Tensor = self.policy.q_net(self._seen(arrays))
        return found

    def _seen(self, arrays: tuple[Tensor, ...]) -> Any:
        """As ``obs_to_tensor`` gives it: encoded, images channels first."""
        space = self.policy.observation_space
        if isinstance(space, gym.spaces.Dict):
            given = shifted(dict(zip(space.spaces, arrays, strict=True)), self._observations, -1)
            return {name: _channels_first(given[name], part) for name, part in space.spaces.items()}
        x = shifted(arrays[0], self._observations, -1)
        return _channels_first(self._encoder.encode(x) if space.shape else x, space)


def sb3_graph(algorithm: str, encoder: Encoder, policy: Any, spaces: tuple[gym.Space[Any], gym.Space[Any]]) -> Graph:
    """The graph of a policy.

    Args:
        algorithm: its name, for the message.
        encoder: fitted.
        policy: of a trained model.
        spaces: of observations and of actions, as the environment has them.

    Raises:
        UnsupportedError: it remembers.
    """
    if hasattr(policy, "lstm_actor"):
        raise UnsupportedError(
            f"the policy of {algorithm} remembers in a form of its own; use learner ppo with recurrent"
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
