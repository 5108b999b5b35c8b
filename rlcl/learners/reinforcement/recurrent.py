"""Networks that remember: an LSTM reads each observation, and a network reads what it remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from attrs import define, field, frozen
from torch import Tensor, nn

from rlcl.config import option
from rlcl.learners.fast.backprop import give_gradient
from rlcl.learners.reinforcement.actor_critic import ActorCritic
from rlcl.learners.reinforcement.collecting import Collector
from rlcl.learners.reinforcement.rollout import Rollout
from rlcl.methods.parts.modes import evaluating

__all__ = ["Recurrence", "Recurrent", "Remembering"]

Array = np.ndarray[Any, Any]


@frozen(kw_only=True)
class Recurrent:
    """A memory of the episode so far.

    Args:
        type: ``lstm``, a long short-term memory of one layer.
        size: numbers that it remembers.

    Source: Hochreiter & Schmidhuber 1997, Long short-term memory; with forget gates, Gers et al. 2000.
    """

    type: Literal["lstm"] = option("lstm")
    size: int = option(64, ge=1)


class Remembering(nn.Module):
    """A network behind an LSTM; a state is (2, B, size): what it shows, and what it holds.

    Args:
        width: numbers in an observation.
        size: numbers that it remembers.
        network: (B, size) to (B, K).
    """

    def __init__(self, width: int, size: int, network: nn.Module) -> None:
        super().__init__()
        self.cell, self.network, self.size = nn.LSTMCell(width, size), network, size
        for name, parameter in self.cell.named_parameters():  # as CleanRL's ppo_atari_lstm
            nn.init.orthogonal_(parameter) if "weight" in name else nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) of observations (B, ...) that begin an episode."""
        found: Tensor = self.network(self.cell(x.flatten(1))[0])
        return found

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K) of observations (B, ...) in a state, and the next state."""
        shown, held = self.cell(x.flatten(1), (state[0], state[1]))
        return self.network(shown), torch.stack((shown, held))

    def along(self, x: Tensor, starts: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """T steps of B environments, in one batch but for what one step hands the next.

        Args:
            x: (T, B, ...) observations.
            starts: (T, B) bool, whether an episode begins there: the state before it is forgotten.
            state: (2, B, size) before the first.

        Returns:
            (T * B, K) outputs, and (T, 2, B, size) the states after each step.
        """
        cell = self.cell
        read = nn.functional.linear(x.flatten(2), cell.weight_ih, cell.bias_ih + cell.bias_hh)
        kept = (~starts)[..., None].to(read.dtype)
        shown, held = state
        states = []
        for t in range(len(read)):
            gates = torch.addmm(read[t], shown * kept[t], cell.weight_hh.T)
            let_in, keep, new, show = gates.chunk(4, 1)
            held = keep.sigmoid() * (held * kept[t]) + let_in.sigmoid() * new.tanh()
            shown = show.sigmoid() * held.tanh()
            states.append(torch.stack((shown, held)))
        after = torch.stack(states)
        return self.network(after[:, 0].flatten(0, 1)), after


@define(eq=False)
class Recurrence:
    """What actor and critic, or the one network that is both, remember of the episodes in progress.

    Gradients go back to the beginning of a rollout, and no further.

    Args:
        policy: whose networks are :class:`Remembering`.
        num_envs: N.
        device: a torch device.
    """

    policy: ActorCritic
    num_envs: int
    device: str
    states: Tensor = field(init=False)  # (networks, 2, N, size) before the rollout's first step
    _now: Tensor = field(init=False)  # (2, N, size) of the actor, within a rollout
    _starts: list[Array] = field(init=False, factory=list)  # of each step of a rollout, (N,) bool
    _made: tuple[Tensor, Tensor] | None = field(init=False, default=None)  # by the last pass, with its graph

    def __attrs_post_init__(self) -> None:
        networks = self.policy.side_by_side
        self.states = torch.zeros(len(networks), 2, self.num_envs, self._actor.size, device=self.device)
        self._now = self.states[0]

    @property
    def _actor(self) -> Remembering:
        assert isinstance(self.policy.actor, Remembering)
        return self.policy.actor

    # Acting.

    def acting(self, collector: Collector) -> Callable[[Array], Array]:
        """A function from observations (N, *encoded) to the actor's outputs (N, K), for the steps of one rollout."""
        self._starts, self._now = [], self.states[0]

        def act(x: Array) -> Array:
            starts = collector.starts
            self._starts.append(starts)
            forgetting = self._now.masked_fill(torch.from_numpy(starts).to(self.device)[None, :, None], 0.0)
            outputs, self._now = self._stepped(x, forgetting)
            return outputs

        return act

    def decide(self, x: Array, state: Array | None) -> tuple[Array, Array]:
        """(B, K) outputs of the actor for observations (B, *encoded), and the next state (2, B, size).

        Args:
            state: of the step before; None at the beginning of episodes.
        """
        before = torch.zeros(2, len(x), self._actor.size) if state is None else torch.from_numpy(state)
        outputs, after = self._stepped(x, before.to(self.device))
        return outputs, after.cpu().numpy()

    def _stepped(self, x: Array, state: Tensor) -> tuple[Array, Tensor]:
        with evaluating(self.policy):
            outputs, after = self._actor.step(torch.from_numpy(x).to(self.device), state)
        return outputs.cpu().numpy(), after

    # Learning.

    def judge(self, states: Tensor, rollout: Rollout) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """What the networks make of a rollout; they go on from its end.

        Args:
            states: those of :attr:`rlcl.learners.reinforcement.rollout.Rollout.states`.
            rollout: just made.

        Returns:
            (T * N, K) outputs for actions, values (S,) of all states, and columns: ``starts`` (T * N,) and ``memory``
            (networks, 2, N, size), what :meth:`forward` begins from.
        """
        steps, count = rollout.rewards.shape
        shape = states.shape[1:]
        acted, last, cut = torch.split(states, [steps * count, count, len(rollout.cut)])
        starts = torch.from_numpy(np.stack(self._starts)).to(self.device)
        at, which = (torch.from_numpy(places).to(self.device) for places in rollout.places)
        ended = torch.from_numpy(rollout.ended[-1]).to(self.device)
        found, after = [], []
        for network, memory in zip(self.policy.side_by_side, self.states, strict=True):
            outputs, along = network.along(acted.view(steps, count, *shape), starts, memory)  # type: ignore[operator]
            next_outputs, _ = network.step(last, along[-1].masked_fill(ended[None, :, None], 0.0))  # type: ignore[operator]
            # An episode that was cut off goes on in its last state, with what it remembers there.
            cut_outputs, _ = network.step(cut, along[at, :, which].movedim(1, 0))  # type: ignore[operator]
            found.append(torch.cat((outputs, next_outputs, cut_outputs)))
            after.append(along[-1])
        columns = {"starts": starts.view(-1), "memory": self.states}
        self.states = torch.stack(after)
        return self._parted(found)[0][: steps * count], self._parted(found)[1], columns

    def forward(self, part: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(R, K) outputs for actions and (R,) values of whole sequences, as columns (R, ...) in the order of time."""
        memory, x = part["memory"], part["observations"]
        count = memory.shape[2]
        x, starts = x.view(-1, count, *x.shape[1:]), part["starts"].view(-1, count)
        with torch.enable_grad():
            networks = zip(self.policy.side_by_side, memory, strict=True)
            self._made = self._parted([network.along(x, starts, its)[0] for network, its in networks])  # type: ignore[operator]
        return self._made[0].detach(), self._made[1].detach()

    def backward(self, by_outputs: Tensor, by_values: Tensor) -> None:
        """From the derivative of a loss by what the last pass gave to that by the weights."""
        assert self._made is not None
        parameters = [p for network in self.policy.side_by_side for p in network.parameters()]
        found = torch.autograd.grad(self._made, parameters, (by_outputs, by_values), allow_unused=True)
        for parameter, gradient in zip(parameters, found, strict=True):
            give_gradient(parameter, gradient)
        self._made = None

    def _parted(self, found: list[Tensor]) -> tuple[Tensor, Tensor]:
        *outputs, last = found
        return (outputs[0] if outputs else last[:, :-1]), last[:, -1]

    def sequences(
        self, columns: Mapping[str, Tensor], rows: int, generator: torch.Generator
    ) -> list[Mapping[str, Tensor]]:
        """A rollout in parts: all steps of some environments each, of as many as fit in ``rows``, at least of one."""
        memory = columns["memory"]
        count = memory.shape[2]
        length = len(columns["starts"]) // count
        if length * count <= rows:
            return [columns]
        parts = torch.split(torch.randperm(count, generator=generator).to(memory.device), max(rows // length, 1))
        return [
            {
                key: column[:, :, chosen]
                if key == "memory"
                else column.view(length, count, *column.shape[1:])[:, chosen].flatten(0, 1)
                for key, column in columns.items()
            }
            for chosen in parts
        ]
