"""Batches of encoded n-step transitions, from a replay buffer or from sequences."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Tensor

from rlcl.types import Transitions

__all__ = ["TransitionBatch", "n_step_batch"]


class TransitionBatch(NamedTuple):
    """Sampled n-step transitions, encoded and on the device.

    Each transition covers k <= n steps of one episode; k < n only near the end of the episode.

    Args:
        observations: (B, *encoded) float32.
        actions: (B, *action).
        rewards: (B,) float32, the sum of ``gamma^i r_{t+i}`` over the k steps.
        next_observations: (B, *encoded) float32 k steps later.
        discounts: (B,) float32, ``gamma^k``; 0 if that state is terminal.
        weights: (B,) float32 importance weights; None if all weights are 1.
        masks: (B, K) bool, actions allowed in ``next_observations``; None if all actions are allowed.
        task_ids: (B,) int64; None if task ids are hidden.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    discounts: Tensor
    weights: Tensor | None
    masks: Tensor | None = None
    task_ids: Tensor | None = None

    def split(self, rows: int) -> Iterator[TransitionBatch]:
        """Yield minibatches of ``rows`` rows, in order; columns (..., B) keep their leading dimensions."""
        if self.rewards.shape[-1] == rows:
            yield self
            return
        dim = self.rewards.dim() - 1
        columns = [torch.split(column, rows, dim) for column in self[:5]]
        optional = (repeat(None) if column is None else torch.split(column, rows, dim) for column in self[5:])
        yield from map(TransitionBatch, *columns, *optional)


def n_step_batch(transitions: Transitions, gamma: float, n: int) -> TransitionBatch:
    """Return the n-step transitions (T * B,) that start at each row of sequences.

    A transition covers fewer than n steps if its episode or its sequence is finished earlier, as in
    :meth:`rlcl.learners.reinforcement.replay.ReplayBuffer.at`.

    Args:
        transitions: (T, B) sequences.
        gamma: discount factor.
        n: maximum number of steps.
    """
    steps, count = transitions.rewards.shape
    rewards, running = transitions.rewards.clone(), ~transitions.ended
    last = torch.arange(steps, device=rewards.device)[:, None].repeat(1, count)
    for i in range(1, min(n, steps)):
        running = running[: steps - i]
        rewards[: steps - i] += torch.where(running, gamma**i * transitions.rewards[i:], 0.0)
        last[: steps - i] += running
        running = running & ~transitions.ended[i:]
    environments = torch.arange(count, device=rewards.device)[None].expand_as(last)
    covered = last - torch.arange(steps, device=rewards.device)[:, None] + 1
    discounts = gamma**covered * ~transitions.terminated[last, environments]

    def at_end(column: Tensor) -> Tensor:
        return column[last, environments].flatten(0, 1)

    masks, task_ids = transitions.next_masks, transitions.task_ids
    return TransitionBatch(
        transitions.observations.flatten(0, 1),
        transitions.actions.flatten(0, 1),
        rewards.flatten(),
        at_end(transitions.next_observations),
        discounts.flatten().to(rewards.dtype),
        None,
        None if masks is None else at_end(masks),
        None if task_ids is None else task_ids.flatten(),
    )
