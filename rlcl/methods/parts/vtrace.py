"""V-trace targets: state values and advantages of a policy from the transitions of another policy."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["VTrace", "v_trace"]


class VTrace(NamedTuple):
    """V-trace targets.

    Args:
        values: (T, B) targets ``v_s`` of the values.
        advantages: (T, B) ``rho_s (r_s + gamma v_{s+1} - V(x_s))``, the factors of the policy gradient.
    """

    values: Tensor
    advantages: Tensor


@torch.no_grad()
def v_trace(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    ended: Tensor,
    log_ratios: Tensor,
    gamma: float,
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
) -> VTrace:
    """Compute V-trace targets of B sequences of T consecutive steps.

    Traces end with an episode. A truncated episode, and a sequence, are continued by the value of their last state.

    Args:
        rewards: (T, B).
        values: (T, B) values V(x_s) of the observations.
        next_values: (T, B) values of the next observations; where ``terminated``, any.
        terminated, ended: (T, B) bool; see :class:`rlcl.types.Transitions`.
        log_ratios: (T, B) log-probability of each action under the current policy, minus that under the policy that
            took it.
        gamma: discount factor.
        clip_rho, clip_c: upper bounds of the importance weights, rho-bar and c-bar in the paper.

    Source: Espeholt et al. 2018, IMPALA, eq. 1 and section 4.2.
    """
    following = torch.where(terminated, 0.0, next_values)
    ratios = log_ratios.exp()
    rho, c = ratios.clamp(max=clip_rho), ratios.clamp(max=clip_c)
    deltas = rho * (rewards + gamma * following - values)
    discounts = gamma * c * ~ended
    corrections, later = torch.empty_like(values), torch.zeros_like(values[0])
    for t in reversed(range(len(values))):
        later = corrections[t] = deltas[t] + discounts[t] * later
    targets = values + corrections
    # The next state's target, within an episode; at its end, and at the end of the sequence, the next state's value.
    next_targets = following.clone()
    next_targets[:-1] = torch.where(ended[:-1], following[:-1], targets[1:])
    return VTrace(targets, rho * (rewards + gamma * next_targets - values))
