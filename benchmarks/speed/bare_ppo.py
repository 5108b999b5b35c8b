"""PPO in one file, as a researcher would write it: eager PyTorch, Gymnasium's vector environments, no features."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch
from torch import nn

__all__ = ["bare_ppo"]


def network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


def bare_ppo(
    envs: gym.vector.VectorEnv, steps: int, n_steps: int = 32, batch_size: int = 256, epochs: int = 20
) -> None:
    """Train for ``steps`` env steps, with gamma 0.98, lambda 0.8, learning rate 1e-3 and clip 0.2."""
    gamma, lam, clip, count = 0.98, 0.8, 0.2, envs.num_envs
    actor, critic = network(4, 2), network(4, 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3, eps=1e-5)
    x, ended = torch.zeros(n_steps, count, 4), np.zeros(count, bool)
    actions = torch.zeros(n_steps, count, dtype=torch.int64)
    log_probs, rewards, values, starts = (torch.zeros(n_steps, count) for _ in range(4))
    observation, _ = envs.reset(seed=0)
    for _ in range(steps // (n_steps * count)):
        for t in range(n_steps):
            x[t], starts[t] = torch.as_tensor(observation), torch.as_tensor(ended)
            with torch.no_grad():
                distribution = torch.distributions.Categorical(logits=actor(x[t]))
                actions[t] = distribution.sample()
                log_probs[t], values[t] = distribution.log_prob(actions[t]), critic(x[t])[:, 0]
            observation, reward, terminated, truncated, _ = envs.step(actions[t].numpy())
            rewards[t], ended = torch.as_tensor(reward), terminated | truncated
        with torch.no_grad():
            following = critic(torch.as_tensor(observation, dtype=torch.float32))[:, 0]
        advantages, carried = torch.zeros(n_steps, count), torch.zeros(count)
        alive = 1 - torch.as_tensor(ended, dtype=torch.float32)
        for t in reversed(range(n_steps)):
            delta = rewards[t] + gamma * following * alive - values[t]
            advantages[t] = carried = delta + gamma * lam * alive * carried
            following, alive = values[t], 1 - starts[t]
        columns = [c.flatten(0, 1) for c in (x, actions, log_probs, advantages, advantages + values)]
        for _ in range(epochs):
            for rows in torch.randperm(n_steps * count).split(batch_size):
                states, chosen, before, advantage, returns = (column[rows] for column in columns)
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                ratio = (torch.distributions.Categorical(logits=actor(states)).log_prob(chosen) - before).exp()
                gain = torch.min(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).mean()
                loss = 0.5 * (critic(states)[:, 0] - returns).square().mean() - gain
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_([*actor.parameters(), *critic.parameters()], 0.5)
                optimizer.step()
    envs.close()
